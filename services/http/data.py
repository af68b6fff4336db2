"""`/data`: whole layers as one binary stream or file, for notebooks and scripts."""

import json
import re
from contextlib import closing
from functools import partial
from mimetypes import guess_type
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pyproj.exceptions import CRSError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cim.city import Extent
from cim.errors import BadRequest, NotFound, UnknownCrs
from cim.messages import say
from cim.read.layer_summary import layer_counts
from services.http import context
from services.http.ask import ASK
from services.http.spool import Spool, SpoolResponse

if TYPE_CHECKING:
    from cim.write.export import Extract

ARROW_STREAM = "application/vnd.apache.arrow.stream"
_SUFFIX = re.compile(r"[a-z0-9.]{1,20}")
MOST_ROWS = 1_000_000_000
MOST_BYTES = 400_000_000  # of a raster, uncompressed: 10,000 × 10,000 heights


def city(request: Request) -> Response:
    """Answer which city this is, and how its coordinates and heights are meant."""
    city = context.of(request).store.city
    keys = ("name", "srid", "vertical_datum", "timezone", "extent")
    return JSONResponse({key: getattr(city, key) for key in keys})


def layers(request: Request) -> Response:
    """Answer the layers and how many objects each holds."""
    state = context.of(request)
    catalog = state.store.catalog
    counted = catalog.of_kind("feature", "raster")
    with state.cursor() as cursor:
        counts = layer_counts(cursor, counted, ASK.get().at)
    rows = [
        {
            "id": layer.id,
            "title": layer.title.model_dump(),
            "kind": layer.kind,
            "geometry": layer.geometry,
            "count": counts.get(layer.id),
            "fields": [f.name for f in layer.all_fields],
        }
        for layer in catalog.layers.values()
    ]
    return Response(json.dumps(rows, ensure_ascii=False), media_type="application/json")


async def data(request: Request) -> Response:
    """Answer a layer, or what a box, filter and moment leave of it, in the format of the address's suffix."""
    state = context.of(request)
    name, _, suffix = request.path_params["file"].partition(".")
    if not _SUFFIX.fullmatch(suffix):
        raise NotFound(say("no-format", suffix=suffix[:20]))
    extract = await run_in_threadpool(_extract, request, state, name)
    make = _arrow if suffix == "arrow" else _file
    spool = await state.spools.begin(partial(make, state, extract, suffix), request.is_disconnected)
    if suffix == "arrow":
        # named so that nothing compresses megabytes on their way to the same machine room
        return SpoolResponse(spool, {"Content-Encoding": "identity"}, ARROW_STREAM)
    headers = {
        "Content-Length": str(spool.size),
        "Content-Disposition": f'attachment; filename="{extract.layer.id}.{suffix}"',
    }
    return SpoolResponse(spool, headers, guess_type(f"x.{suffix}")[0] or "application/octet-stream")


def _arrow(state: context.Context, extract: "Extract", _: str, spool: Spool) -> None:
    """Write a stream of Arrow, batch by batch."""
    from cim.write.export import arrow_stream, open_frame

    with state.cursor() as cursor, spool.asks(cursor.connection):
        frame = open_frame(cursor, state.store.city, extract)
        with closing(frame.batches), closing(arrow_stream(frame)) as parts:
            spool.write(next(parts) + next(parts, b""))  # errors show before the first byte: the first batch is read
            for part in parts:
                spool.write(part)


def _file(state: context.Context, extract: "Extract", suffix: str, spool: Spool) -> None:
    """Write a file, whole."""
    from cim.write.export import export

    with TemporaryDirectory(dir=state.spools.folder, prefix="export-") as folder:
        path = Path(folder) / f"{extract.layer.id}.{suffix}"
        with state.cursor() as cursor, spool.asks(cursor.connection):
            export(cursor, state.store, extract, path)
        spool.adopt(path)


def _extract(request: Request, state: context.Context, layer: str) -> "Extract":
    from cim.write.export import Extract

    asked = request.query_params
    columns = tuple(name for name in asked.get("columns", "").split(",") if name)
    try:
        return Extract(
            layer=state.layer(layer),
            bbox=_box(asked["bbox"]) if "bbox" in asked else None,
            where=asked.get("filter"),
            at=ASK.get().at,
            crs=asked.get("crs"),
            limit=_count(asked.get("limit", "0")),
            properties=columns,
            public_only=ASK.get().public_only,
            most_bytes=MOST_BYTES,
        )
    except (ValueError, CRSError, UnknownCrs) as fault:
        raise BadRequest(say("parameters-cannot-be-used", query=request.url.query, reason=fault)) from fault


def _count(text: str) -> int:
    count = int(text)
    if not 0 <= count <= MOST_ROWS:
        raise ValueError(f"limit={count:g}: 0 to {MOST_ROWS:,}")
    return count


def _box(text: str) -> Extent:
    west, south, east, north = (float(part) for part in text.split(","))
    return west, south, east, north


ROUTES = [
    Route("/data/city.json", city),
    Route("/data/layers.json", layers),
    Route("/data/{file}", data),
]
