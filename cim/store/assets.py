"""The asset store: big files by the hash of their content, written once, whole or not at all."""

import hashlib
import os
import shutil
from pathlib import Path

from cim.config import Settings


def asset_path(settings: Settings, sha256: str) -> Path:
    """Return where an asset lies."""
    return settings.asset_store / sha256[:2] / sha256


def put_asset(settings: Settings, file: Path) -> str:
    """Move or copy a file into the asset store; return its SHA-256."""
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    target = asset_path(settings, sha256)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_suffix(f".{os.getpid()}.new")
        shutil.copyfile(file, fresh)
        with fresh.open("rb+") as written:
            os.fsync(written.fileno())
        fresh.replace(target)
    return sha256
