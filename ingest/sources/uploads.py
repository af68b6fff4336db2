"""Files that a planner brings in the browser: kept in the state folder, unpacked, tried, then loaded as any others."""

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID, uuid4

from cim.access.asker import COMMAND_LINE, Asker
from cim.config import Settings
from cim.errors import BadRequest
from cim.loads.quality import examine
from cim.messages import each_text, say
from cim.store.connection import Cursor, Store
from cim.store.schema import table
from ingest.delivery.archives import is_archive, unpack
from ingest.delivery.declared import Declared, of_others
from ingest.delivery.report import LoadReport
from ingest.formats.readers import reader_of
from ingest.load.pipeline import ingest

LARGEST_BYTES = 2_000_000_000  # of a file, and of what a zip unpacks to
MOST_MEMBERS = 500
KEPT_DAYS = 7
SHOWN = 1500  # geometries of a preview, a layer


def new_upload(settings: Settings, name: str) -> tuple[str, Path]:
    """Return the id of a new upload and the path its file is to be written to.

    Raises:
        BadRequest: the name isn't that of a file.

    """
    plain = PurePosixPath(name.replace("\\", "/")).name
    if not plain or plain.startswith("."):
        raise BadRequest(say("upload-needs-name"))
    _forget_old(settings.state / "uploads")
    upload = uuid4().hex
    folder = settings.state / "uploads" / upload
    folder.mkdir(parents=True)
    return upload, folder / plain


def _forget_old(uploads: Path) -> None:
    """Remove what was brought some days ago: by then it was loaded, or nobody wants it."""
    for folder in uploads.glob("*"):
        if time.time() - folder.stat().st_mtime > KEPT_DAYS * 86_400:
            shutil.rmtree(folder, ignore_errors=True)


def folder_of(settings: Settings, upload: str) -> Path:
    """Return the folder of an upload.

    Raises:
        BadRequest: there is none of that id.

    """
    try:
        folder = settings.state / "uploads" / UUID(upload).hex
    except ValueError as fault:
        raise BadRequest(say("not-id-upload", upload=upload)) from fault
    if not folder.is_dir():
        raise BadRequest(say("no-upload", upload=upload))
    return folder


def try_upload(store: Store, upload: str, options: Declared, wait_s: float | None = None) -> dict[str, Any]:
    """Say what loading an upload would do: the report, and what it would put on the map, as GeoJSON geometries.

    Raises:
        LayerBusy: another load is writing into one of its layers, for longer than `wait_s`.

    """
    preview: list[Any] = []

    def look(cursor: Cursor, report: LoadReport) -> bool:
        names = dict.fromkeys(name for file in report.files for name in file.layers)
        for layer in [store.catalog.layers[name] for name in names]:
            if layer.geometry is not None:
                cursor.execute(
                    f"""SELECT ST_AsGeoJSON(ST_Transform(ST_SimplifyPreserveTopology(ST_Force2D(geom), 0.3), 4326),
                                            7)::json FROM {table(layer)}
                        WHERE load = %s AND upper_inf(recorded) LIMIT {SHOWN}""",
                    [report.load],
                )
                preview.extend(row[0] for row in cursor.fetchall())
        report.quality = examine(cursor, store, report.load or 0, report.layers)
        return False  # nothing of it stays

    folder = unpacked(folder_of(store.settings, upload))
    report = ingest(store, [folder], of_others(options, None), ending=look, of_others=True, wait_s=wait_s)
    return _said(upload, report, preview)


def load_upload(
    store: Store,
    upload: str,
    options: Declared,
    finish: Callable[[Cursor, dict[str, Any]], bool],
    asker: Asker = COMMAND_LINE,
    wait_s: float | None = None,
) -> dict[str, Any]:
    """Load an upload; `finish` notes what is said of it in the load's transaction, or returns False: it is given up.

    Raises:
        LayerBusy: another load is writing into one of its layers, for longer than `wait_s`.

    """

    def ending(cursor: Cursor, report: LoadReport) -> bool:
        report.quality = examine(cursor, store, report.load or 0, report.layers)
        return finish(cursor, _said(upload, report, []))

    report = ingest(
        store,
        [unpacked(folder_of(store.settings, upload))],
        of_others(options, None),
        ending=ending,
        asker=asker,
        of_others=True,
        wait_s=wait_s,
    )
    return _said(upload, report, [])


def _said(upload: str, report: LoadReport, preview: list[Any]) -> dict[str, Any]:
    return {
        "upload": upload,
        "acceptable": report.exit_code in (0, 3),
        "report": _without_folder(report.as_json()),
        "quality": report.quality,
        "preview": preview,
    }


def _without_folder(report: dict[str, Any]) -> dict[str, Any]:
    """Name files as the planner knows them, not by where they lie on the server."""
    for file in report["files"]:
        whole, name = file["path"], Path(file["path"]).name
        file["path"] = name
        if file.get("error"):
            file["error"] = each_text(file["error"], partial(_named, whole, name))
    return report


def _named(whole: str, name: str, text: str) -> str:
    return text.replace(whole, name)


def unpacked(folder: Path) -> Path:
    """Return the folder of an upload's files, with a zip's members unpacked beside it, once.

    Raises:
        UnreadableFile: a zip that is broken, too large, or has members outside itself.

    """
    for path in folder.iterdir():
        if (reader := reader_of(path)) and reader.leads_elsewhere:
            raise BadRequest(say("leads-another-database", file=path.name))
    archives = [path for path in folder.iterdir() if is_archive(path) and path.is_file()]
    if not archives:
        return folder
    target = folder / "unpacked"
    if not target.is_dir():
        fresh = folder / ".unpacking"
        unpack(archives[0], fresh, largest=LARGEST_BYTES, most=MOST_MEMBERS)
        fresh.replace(target)
    return target
