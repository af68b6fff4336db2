"""Zip archives: unpacked into a folder of their own, within bounds, with the names that people gave."""

import zipfile
from pathlib import Path, PurePosixPath

from cim.errors import UnreadableFile
from cim.messages import say

ARCHIVES = (".zip", ".ifczip")
MOST_MEMBERS = 5_000
LEAST_BOUND = 2_000_000_000  # bytes that any archive may unpack to
MOST_RATIO = 100  # times its own size that a big one may
_UTF8_FLAG = 0x800


def is_archive(path: Path) -> bool:
    """Whether a file holds others, which are read in its place."""
    return path.suffix.lower() in ARCHIVES


def unpack(path: Path, target: Path, *, largest: int | None = None, most: int = MOST_MEMBERS) -> None:
    """Unpack an archive; what desktops add (`__MACOSX`, hidden files) is left out.

    Args:
        path: the archive.
        target: a folder, made where it isn't there.
        largest: bytes that it may unpack to; None: 100 times its own size, or 2 GB where that is more.
        most: members that it may have.

    Raises:
        UnreadableFile: not a zip, encrypted, beyond the bounds, or with members outside itself.

    """
    bound = largest or max(LEAST_BOUND, MOST_RATIO * path.stat().st_size)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) > most or sum(member.file_size for member in members) > bound:
                size = f"{most} files or {bound / 1e9:.1f} GB"
                raise UnreadableFile(say("zip-more-than", file=path.name, size=size))
            for member in members:
                _unpack_member(archive, member, target, path)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError) as fault:
        raise UnreadableFile(say("not-zip-can-read", file=path.name, reason=fault)) from fault


def _unpack_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, path: Path) -> None:
    inside = PurePosixPath(_name(member).replace("\\", "/"))
    if inside.is_absolute() or ".." in inside.parts or ":" in inside.parts[0]:
        raise UnreadableFile(say("zip-must-not-have-members", file=path.name, inside=inside))
    if any(part.startswith((".", "__MACOSX")) for part in inside.parts):
        return
    to = target / inside
    to.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, to.open("wb") as sink:
        while piece := source.read(1 << 20):  # never more than the size that was checked
            sink.write(piece)


def _name(member: zipfile.ZipInfo) -> str:
    """Return a member's name: archives of Chinese desktops write GBK and don't say so."""
    if member.flag_bits & _UTF8_FLAG:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("gb18030")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return member.filename
