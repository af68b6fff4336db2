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


def find_files(paths: list[Path], scratch: Path) -> list[File]:
    """Return the files to read: those named, and in folders and archives all that a reader knows; rasters first.

    Args:
        paths: files, folders and zip archives.
        scratch: a folder in which archives are unpacked, each in its own.

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
        for file in inside:
            found = (
                _unpacked(file, scratch / str(len(files)))
                if is_archive(file)
                else [File(file, str(file), _nearest(file.parent, path) or file.parent)]
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


def _unpacked(path: Path, folder: Path) -> list[File]:
    """Return the files of an archive; one that doesn't open or holds none is a file with a fault."""
    try:
        unpack(path, folder)
    except UnreadableFile as fault:
        return [File(path, str(path), path.parent, str(fault))]
    inside = [p for p in _inside(folder) if (reader := reader_of(p)) and not reader.leads_elsewhere]
    if not inside:
        return [File(path, str(path), path.parent, f"{path}: no file in it that any reader knows ({_known()})")]
    return [File(p, f"{path}/{p.relative_to(folder)}", _nearest(p.parent, folder) or path.parent) for p in inside]


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
