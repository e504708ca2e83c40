"""A codec as compiled programs of `jax.export`, which need jax and numpy alone."""
