"""`/data`: whole layers as one binary stream or file, for notebooks and scripts."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from pyproj.exceptions import CRSError
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from cim.city import Extent
from cim.concurrency.prefetch import ahead
from cim.errors import BadRequest, UnknownCrs
from cim.read.layers import layer_counts
from services.http import context
from services.http.ask import ASK

if TYPE_CHECKING:
    from cim.write.export import Extract


def city(request: Request) -> Response:
    """Answer which city this is, and how its coordinates and heights are meant."""
    found = context.of(request).store.city
    keys = ("name", "srid", "vertical_datum", "timezone", "extent")
    return JSONResponse({key: getattr(found, key) for key in keys})


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


def data(request: Request) -> Response:
    """Answer a layer, or what a box, filter and moment leave of it, in the format of the address's suffix."""
    from cim.write.export import export

    state = context.of(request)
    extract = _extract(request, state)
    suffix = request.path_params["suffix"]
    if suffix == "arrow":
        return _stream(state, extract)
    folder = tempfile.TemporaryDirectory(prefix="cim-data-")
    path = Path(folder.name) / f"{extract.layer.id}.{suffix}"
    try:
        with state.cursor() as cursor:
            export(cursor, state.store, extract, path)
    except BaseException:
        folder.cleanup()
        raise
    return FileResponse(path, filename=path.name, background=BackgroundTask(folder.cleanup))


def _stream(state: context.Context, extract: "Extract") -> Response:
    from cim.write.export import ARROW_STREAM, arrow_stream, open_frame

    # errors show before the first byte: the frame is opened, and its first batch read, here
    with ExitStack() as until_the_first_byte:
        cursor = until_the_first_byte.enter_context(state.cursor())
        parts = arrow_stream(open_frame(cursor, state.store.city, extract))
        first = next(parts) + next(parts, b"")
        lent = until_the_first_byte.pop_all()

    def body() -> Iterator[bytes]:
        with lent:
            yield first
            yield from ahead(parts)

    # named so that nothing compresses megabytes on their way to the same machine room
    return StreamingResponse(body(), media_type=ARROW_STREAM, headers={"Content-Encoding": "identity"})


def _extract(request: Request, state: context.Context) -> "Extract":
    from cim.write.export import Extract

    asked = request.query_params
    columns = tuple(name for name in asked.get("columns", "").split(",") if name)
    try:
        return Extract(
            layer=state.layer(request.path_params["layer"]),
            bbox=_box(asked["bbox"]) if "bbox" in asked else None,
            where=asked.get("filter"),
            at=ASK.get().at,
            crs=asked.get("crs"),
            limit=int(asked.get("limit", 0)),
            properties=columns,
            public_only=ASK.get().public_only,
        )
    except (ValueError, CRSError, UnknownCrs) as fault:
        raise BadRequest(f"{request.url.query}: {fault}") from fault


def _box(text: str) -> Extent:
    west, south, east, north = (float(part) for part in text.split(","))
    return west, south, east, north


ROUTES = [
    Route("/data/city.json", city),
    Route("/data/layers.json", layers),
    Route("/data/{layer:str}.{suffix:path}", data),
]
