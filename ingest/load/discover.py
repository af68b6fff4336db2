"""Which files a delivery holds: those named, and in folders and archives all that a reader knows."""

from dataclasses import dataclass
from pathlib import Path

from cim.errors import UnreadableFile
from ingest.delivery.archives import ARCHIVES, is_archive, unpack
from ingest.delivery.declared import DATASET_FILE
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
            inside = [p for p in _inside(path) if reader_of(p) or is_archive(p)]
            if not inside:
                raise UnreadableFile(f"{path}: no file in it that any reader knows ({_known()})")
        elif not path.exists():
            raise UnreadableFile(f"{path}: no such file or folder")
        elif reader_of(path) is None and not is_archive(path):
            raise UnreadableFile(
                f"{path}: no reader for {path.suffix or 'a file without suffix'}; known are {_known()}"
            )
        else:
            inside = [path]
        root = (path if path.is_dir() else path.parent) if of_others else None
        for file in inside:
            found = (
                _unpacked(file, scratch / str(len(files)), root)
                if is_archive(file)
                else [_file(file, str(file), _nearest(file.parent, path) or file.parent, root, root)]
            )
            files |= {f.path: f for f in found if f.path not in files}
    # LoD1 stands on rasters; the sort is stable
    return sorted(files.values(), key=lambda f: not ((reader := reader_of(f.path)) and reader.kind == "raster"))


def _inside(folder: Path) -> list[Path]:
    """Return the files of a folder; of one that a file speaks for, that file alone."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    speaking = [p for p in files if (reader := reader_of(p)) and reader.of_folder]
    taken: dict[Path, Path] = {}
    for path in speaking:  # the outermost of several comes first
        if not any(parent in taken for parent in path.parent.parents):
            taken.setdefault(path.parent, path)
    kept = set(taken.values())
    return [p for p in files if p in kept or not any(parent in taken for parent in p.parents)]


def _file(path: Path, shown: str, beside: Path, root: Path | None, beside_root: Path | None) -> File:
    """Return a file to read; of others, one that leads elsewhere has a fault."""
    reader = reader_of(path)
    leads = root is not None and reader is not None and reader.leads_elsewhere
    fault = f"{shown}: it leads to another database; an administrator loads it, or makes it a feed" if leads else ""
    return File(path, shown, beside, fault, root, beside_root)


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
        return [File(path, str(path), path.parent, str(fault))]
    inside = [p for p in _inside(folder) if reader_of(p)]
    if not inside:
        return [File(path, str(path), path.parent, f"{path}: no file in it that any reader knows ({_known()})")]
    nearest = {p: _nearest(p.parent, folder) for p in inside}
    return [
        _file(p, f"{path}/{p.relative_to(folder)}", near or path.parent, folder, folder if near else root)
        for p, near in nearest.items()
    ]


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
