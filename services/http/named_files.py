"""Files that are answered by the name in an address."""

import os
from pathlib import Path, PurePosixPath

from cim.errors import NotFound
from cim.messages import say

LONGEST_NAME = 255  # bytes: what file systems take, and raise a fault beyond


def file_in(folder: Path, name: str) -> Path:
    """Return a file of a folder or below it, by its path from there; a name never leads out of it.

    Raises:
        NotFound: there is no such file.

    """
    parts = PurePosixPath(name).parts
    inside = bool(parts) and not {"/", ".."} & set(parts)
    path = folder.joinpath(*parts)
    if not inside or any(len(os.fsencode(part)) > LONGEST_NAME for part in parts) or not path.is_file():
        raise NotFound(say("no-such-file", name=name[:LONGEST_NAME]))
    return path
