"""Uploads a folder as a model to the Hugging Face Hub."""

import pathlib

from jaxcodec.hub import names, problems, settings


def check_name(repo_id: str) -> str:
  """Returns a name to upload to; raises ValueError if it isn't `user/repo`."""
  if not names.is_repo_id(repo_id):
    raise ValueError(f"{repo_id}: expected a name like user/repo to upload to")
  return repo_id


def upload(folder: pathlib.Path, repo_id: str, *, private: bool) -> str:
  """Uploads all files of a folder in one commit; returns the repository's address.

  The repository is made if there is none. Files in it with other names stay.

  Raises:
    PermissionError: the user's token may not write there, or there is none.
    OSError: the hub is out of reach, or the upload broke off.
  """
  import huggingface_hub

  api = huggingface_hub.HfApi(endpoint=settings.endpoint(), library_name="jaxcodec")
  try:
    api.create_repo(repo_id, private=private, exist_ok=True)
    api.upload_folder(
      repo_id=repo_id, folder_path=folder, commit_message="Upload by jaxcodec push"
    )
  except problems.client_errors() as error:
    raise problems.of_upload(repo_id, error) from error
  return f"{settings.endpoint()}/{repo_id}"
