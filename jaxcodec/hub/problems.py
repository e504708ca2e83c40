"""Says what an error of the hub's client means, and what to do about it."""

from jaxcodec.hub import settings
from jaxcodec.hub.names import Repository


def client_errors() -> tuple[type[Exception], ...]:
  """Returns what the client raises, which depends on its HTTP library and on Xet's."""
  from huggingface_hub import errors

  xet = getattr(errors, "XetDownloadError", RuntimeError)
  return OSError, ValueError, RuntimeError, errors.HTTPError, xet


def first_line(error: Exception) -> str:
  """Returns the first line of an error's message, or its type if it has none."""
  lines = str(error).strip().splitlines()
  return lines[0].rstrip(".") if lines else type(error).__name__


def is_final(error: Exception) -> bool:
  """Tells whether the hub itself said that there is no such revision or name."""
  from huggingface_hub import errors

  return isinstance(error, errors.RevisionNotFoundError | errors.HFValidationError)


def of_listing(repository: Repository, error: Exception) -> Exception:
  """Returns what to raise if a repository's files can't be listed, nor are cached."""
  return _refusal(repository, error) or FileNotFoundError(
    f"{repository} is neither a path here nor in the hub's cache, and"
    f" {settings.endpoint()} is out of reach ({first_line(error)}):"
    f" {_by_hand(repository)}"
  )


def of_download(repository: Repository, name: str, error: Exception) -> Exception:
  """Returns what to raise if a file can't be downloaded."""
  return _refusal(repository, error) or OSError(
    f"{repository}: the download of {name} broke off ({first_line(error)}); load it"
    " again"
  )


def of_upload(repo_id: str, error: Exception) -> Exception:
  """Returns what to raise if an upload fails."""
  cause = error.__cause__
  if isinstance(error, RuntimeError) and isinstance(cause, Exception):
    error = cause  # the client's message names the file alone
  if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
    return PermissionError(
      f"{repo_id}: {settings.endpoint()} does not let you write there: log in with"
      ' "hf auth login", and use a token that may write'
    )
  return OSError(f"{repo_id} could not be uploaded: {first_line(error)}")


def _refusal(repository: Repository, error: Exception) -> Exception | None:
  """Returns what to raise if the hub gave a reason; None if it didn't answer well."""
  from huggingface_hub import errors

  where = f"{settings.endpoint()}/{repository.id}"
  if isinstance(error, errors.HFValidationError):
    return ValueError(f"{repository} is no repository's name: {first_line(error)}")
  if isinstance(error, errors.GatedRepoError):
    return PermissionError(
      f"{repository} is gated: accept its conditions at {where}, then log in with"
      ' "hf auth login" or set HF_TOKEN'
    )
  if isinstance(error, errors.RevisionNotFoundError):
    return FileNotFoundError(f"{where} has no revision {repository.revision!r}")
  if isinstance(error, errors.RepositoryNotFoundError):
    return FileNotFoundError(
      f"nothing lies at {repository} here, and {settings.endpoint()} has no such"
      " repository, or a private one, for which you would have to log in with"
      ' "hf auth login"'
    )
  return None


def _by_hand(repository: Repository) -> str:
  """Says how to bring a repository to a machine without a network."""
  pinned = str(repository) != repository.id
  revision = f" --revision {repository.revision}" if pinned else ""
  return (
    f'where there is a network, run "hf download {repository.id}{revision} --local-dir'
    f' DIR", or save the files at {settings.endpoint()}/{repository.id}/tree/'
    f"{repository.revision} in a folder, bring it here and load weights=DIR; or copy"
    f" models--{repository.id.replace('/', '--')} from the cache of a machine that has"
    f" it into {settings.cache()}"
  )
