"""Which files a delivery holds: those named, and in folders and archives all that a reader knows."""

from dataclasses import dataclass, replace
from pathlib import Path

from cim.errors import UnreadableFile
from cim.messages import say
from ingest.delivery.archives import ARCHIVES, is_archive, unpack
from ingest.delivery.declared import DATASET_FILE
from ingest.formats.contract import Reader
from ingest.formats.readers import reader_of, readers


@dataclass(frozen=True)
class File:
    """A file to read, as it is called in the report, and where what is declared beside it stands."""

    path: Path
    shown: str
    beside: Path  # folder whose dataset.toml holds for it
    fault: str = ""  # why it can't be read: an archive that doesn't open
    root: Path | None = None  # folder that nothing it names may lie outside of; None: the owner's own
    beside_root: Path | None = None  # the same of what its dataset.toml names
    reader: Reader | None = None  # None: it can't be read


def find_files(paths: list[Path], scratch: Path, *, of_others: bool = False) -> list[File]:
    """Return the files to read: those named, and in folders and archives all that a reader knows; rasters first.

    Args:
        paths: files, folders and zip archives.
        scratch: a folder in which archives are unpacked, each in its own.
        of_others: they come from elsewhere (an upload, a download, a folder that others write): nothing they name is
            read but what came with them. What lies in an archive always does.

    Raises:
        UnreadableFile: a path isn't there, a named file has no reader, or a folder holds none.

    """
    files: dict[Path, File] = {}
    for path in paths:
        if path.is_dir():
            inside = _inside(path)
            if not inside:
                raise UnreadableFile(say("no-file-any-reader-knows", file=path, seen=_known()))
        elif not path.exists():
            raise UnreadableFile(say("no-such-file-folder", file=path))
        elif (reader := reader_of(path)) is None and not is_archive(path):
            raise UnreadableFile(
                say("no-reader", file=path, suffix=path.suffix or "a file without suffix", known_suffixes=_known())
            )
        else:
            inside = {path: reader}
        root = (path if path.is_dir() else path.parent) if of_others else None
        for file, reader in inside.items():
            expanded = (
                _unpacked(file, scratch / str(len(files)), root)
                if is_archive(file)
                else [_file(File(file, str(file), _nearest(file.parent, path) or file.parent, "", root, root, reader))]
            )
            files |= {f.path: f for f in expanded if f.path not in files}
    # LoD1 stands on rasters; the sort is stable
    return sorted(files.values(), key=lambda f: f.reader is None or f.reader.kind != "raster")


def _inside(folder: Path) -> dict[Path, Reader | None]:
    """Return the files of a folder with their readers, archives with none; where a file speaks for a folder, it alone.

    No other place asks for the reader of a file, beside that of one which is named.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    readers_of_files = {p: reader_of(p) for p in files}
    taken: dict[Path, Path] = {}
    for path, reader in readers_of_files.items():  # the outermost of several comes first
        if reader and reader.of_folder and not any(parent in taken for parent in path.parent.parents):
            taken.setdefault(path.parent, path)
    speaking = set(taken.values())
    alone = (p for p in files if p in speaking or not any(parent in taken for parent in p.parents))
    return {p: readers_of_files[p] for p in alone if readers_of_files[p] or is_archive(p)}


def _file(file: File) -> File:
    """Return a file to read; of others, one that leads elsewhere has a fault."""
    if file.root is None or file.reader is None or not file.reader.leads_elsewhere:
        return file
    return replace(file, fault=say("leads-another-database", file=file.shown))


def _unpacked(path: Path, folder: Path, root: Path | None) -> list[File]:
    """Return the files of an archive; one that doesn't open or holds none is a file with a fault.

    Args:
        path: the archive.
        folder: where its files go, which nothing they name may lie outside of.
        root: the same of what a dataset.toml beside the archive names; None: it is the owner's own.

    """
    try:
        unpack(path, folder)
    except UnreadableFile as fault:
        return [File(path, str(path), path.parent, fault.message)]
    inside = {p: reader for p, reader in _inside(folder).items() if reader}
    if not inside:
        return [File(path, str(path), path.parent, say("no-file-any-reader-knows", file=path, seen=_known()))]
    files = []
    for file, reader in inside.items():
        near = _nearest(file.parent, folder)
        shown, beside_root = f"{path}/{file.relative_to(folder)}", folder if near else root
        files.append(_file(File(file, shown, near or path.parent, "", folder, beside_root, reader)))
    return files


def _nearest(folder: Path, top: Path) -> Path | None:
    """Return the folder with the dataset.toml that holds for a folder: its own, else the next above it, up to `top`."""
    for above in (folder, *folder.parents):
        if (above / DATASET_FILE).is_file():
            return above
        if above == top or top not in above.parents:
            return None
    return None


def _known() -> str:
    return ", ".join(dict.fromkeys([*(suffix for reader in readers() for suffix in reader.suffixes), *ARCHIVES]))
