"""The asset store: big files by the hash of their content, written once, whole or not at all."""

import hashlib
import os
import shutil
from pathlib import Path

from cim.config import Settings


def asset_path(settings: Settings, sha256: str) -> Path:
    """Return where an asset lies."""
    return content_path(settings.asset_store, sha256)


def put_asset(settings: Settings, file: Path) -> str:
    """Copy a file into the asset store; return its SHA-256."""
    return put_content(settings.asset_store, file)


def content_path(folder: Path, sha256: str) -> Path:
    """Return where a file of some content lies in a store of contents."""
    return folder / sha256[:2] / sha256


def put_content(folder: Path, file: Path) -> str:
    """Copy a file into a store of contents; return its SHA-256."""
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    target = content_path(folder, sha256)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_suffix(f".{os.getpid()}.new")
        shutil.copyfile(file, fresh)
        with fresh.open("rb+") as written:
            os.fsync(written.fileno())
        fresh.replace(target)
    return sha256
