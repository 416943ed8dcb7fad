"""Upload a folder to a model hub, by the hub's own package."""

from __future__ import annotations

from pathlib import Path

from tools_shared.console import say
from tools_shared.errors import ToolError


def push(folder: Path, repository: str) -> None:
    """Make `repository` where it is missing, private, and upload the files of `folder` in one commit.

    Raises ToolError where the hub refuses or cannot be reached.
    """
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi()
    try:
        made = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=repository, commit_message="Upload a run")
    except (HfHubHTTPError, HFValidationError, httpx.HTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ToolError(f"--push {repository}: not uploaded ({reason}); what was to be is in {folder}") from error
    say(f"uploaded to {made}")
