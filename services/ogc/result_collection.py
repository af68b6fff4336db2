"""`/ogc/jobs/{job}` as a source of OGC API - Features: the rows of a kept result are its one collection, `results`.

The job's status document is the landing page. So QGIS opens a result by the job's address alone.
"""

import json
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import shapely
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cim.analysis.engine.registry import analyses
from cim.analysis.engine.result import features_of
from cim.analysis.engine.result_rows import Int, ResultRows, open_rows
from cim.errors import BadRequest, NotFound
from cim.jobs.queue import Job
from cim.messages import say
from services.http import context
from services.http.ask import ASK
from services.http.jobs import address_of, result_text
from services.ogc.collections import DEFAULT_ITEMS, MOST_ITEMS
from services.ogc.processes import GEOJSON, read_analysed
from services.ogc.pygeoapi_overrides import CRS84

RESULTS = "results"
CONFORMANCE = [
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/json",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/oas30",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
]
Box = tuple[float, float, float, float]
_PARTS = 16  # of a box's side, whose edges aren't straight in the city's CRS
_MARGIN_DEG = 0.001  # around all rows: where a box is cut off


def conformance(request: Request) -> Response:
    """Answer what the job's result conforms to, once it has one."""
    _rows(request)
    return _answer(request, {"conformsTo": CONFORMANCE})


def collections(request: Request) -> Response:
    """Answer the one collection in a list."""
    job, rows = _rows(request)
    document = {
        "collections": [_described(request, job, rows)],
        "links": [_link("self", f"{address_of(job.job)}/collections")],
    }
    return _answer(request, document)


def collection(request: Request) -> Response:
    """Answer what the collection is: its title, its box, where its items are."""
    return _answer(request, _described(request, *_rows(request)))


def items(request: Request) -> Response:
    """Answer a page of rows: `bbox` in degrees, `limit`, `offset`."""
    job, rows = _rows(request)
    asked = request.query_params
    limit = min(_count(asked, "limit", DEFAULT_ITEMS), MOST_ITEMS)
    offset = _count(asked, "offset", 0)
    if limit < 1:
        raise BadRequest(say("a-limit-of-one-or-more"))
    if "bbox" in asked:
        matched = _meeting(request, rows, _box(asked["bbox"]))
        count, positions = len(matched), matched[offset : offset + limit]
    else:
        count, positions = len(rows), np.arange(min(offset, len(rows)), min(offset + limit, len(rows)))
    base = f"{address_of(job.job)}/collections/{RESULTS}"
    links = [_link("self", _paged(request, base, offset), GEOJSON), _link("collection", base)]
    if offset + limit < count:
        links.append(_link("next", _paged(request, base, offset + limit), GEOJSON))
    if offset:
        links.append(_link("prev", _paged(request, base, max(offset - limit, 0)), GEOJSON))
    document = {
        "type": "FeatureCollection",
        "features": _features(rows, positions),
        "numberMatched": count,
        "numberReturned": len(positions),
        "links": links,
    }
    return _answer(request, document, GEOJSON)


def item(request: Request) -> Response:
    """Answer one row."""
    job, rows = _rows(request)
    identifier = request.path_params["item"]
    position = rows.position(identifier)
    if position is None:
        raise NotFound(say("result-has-no-such-row", job=job.job, row=identifier))
    base = f"{address_of(job.job)}/collections/{RESULTS}"
    feature = _features(rows, np.array([position]))[0]
    links = [_link("self", f"{base}/items/{quote(identifier, safe='')}", GEOJSON), _link("collection", base)]
    return _answer(request, feature | {"links": links}, GEOJSON)


def _rows(request: Request) -> tuple[Job, ResultRows]:
    """Return a job and the rows of its result, for who may read them."""
    name = request.path_params.get("name", RESULTS)
    job, state = read_analysed(request), context.of(request)
    if name != RESULTS:
        raise NotFound(say("no-such-collection-of-result", collection=name, rows=RESULTS))
    return job, open_rows(state.store.settings, result_text(state, job.job))


def _described(request: Request, job: Job, rows: ResultRows) -> dict[str, Any]:
    row, language = analyses().get(job.name), ASK.get().language  # none where a package has since been removed
    base = f"{address_of(job.job)}/collections/{RESULTS}"
    box = _extent(request, rows)
    return {
        "id": RESULTS,
        "title": row.title.to(language) if row else job.name,
        "description": row.description.to(language) if row else "",
        "itemType": "feature",
        "crs": [CRS84],
        **({"extent": {"spatial": {"bbox": [list(box)], "crs": CRS84}}} if box else {}),
        "links": [_link("self", base), _link("items", f"{base}/items", GEOJSON)],
    }


def _features(rows: ResultRows, positions: Int) -> list[dict[str, Any]]:
    return features_of(rows.read(positions), rows.ids(positions))


def _extent(request: Request, rows: ResultRows) -> Box | None:
    """Return the box of all rows in degrees; None: nothing has a place."""
    bounds = rows.bounds
    if rows.srid is None or not np.isfinite(bounds).any():
        return None
    (xmin, ymin), (xmax, ymax) = np.nanmin(bounds[:, :2], axis=0), np.nanmax(bounds[:, 2:], axis=0)
    steps = np.linspace(0, 1, _PARTS + 1)
    x, y = (grid.ravel() for grid in np.meshgrid(xmin + steps * (xmax - xmin), ymin + steps * (ymax - ymin)))
    lon, lat = context.of(request).to_wgs84(x, y)
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def _meeting(request: Request, rows: ResultRows, box: Box) -> Int:
    """Return the rows that meet a box of degrees, one that crosses the antimeridian in both its halves."""
    extent = _extent(request, rows)
    nothing = np.empty(0, np.int64)
    if extent is None:
        return nothing
    west, south, east, north = box
    halves = [box] if west <= east else [(west, south, 180.0, north), (-180.0, south, east, north)]
    row_numbers = nothing
    for half in halves:
        # beyond the rows there is nothing to meet, and a box of the whole world has no place in a city's CRS
        low = np.maximum(half[:2], np.array(extent[:2]) - _MARGIN_DEG)
        high = np.minimum(half[2:], np.array(extent[2:]) + _MARGIN_DEG)
        if (low <= high).all():
            row_numbers = np.union1d(row_numbers, rows.meeting(_placed(request, low, high)))
    return row_numbers


def _placed(request: Request, low: Any, high: Any) -> shapely.Geometry:
    """Return a box of degrees in the city's CRS: an area, a line or a point."""
    outline = shapely.box(*low, *high) if (low < high).all() else shapely.LineString([low, high])
    if (low == high).all():
        outline = shapely.Point(low)
    cut = shapely.segmentize(outline, max(float((high - low).max()), 1e-9) / _PARTS)
    to_city = context.of(request).from_wgs84
    return shapely.transform(cut, lambda degrees: np.c_[to_city(degrees[:, 0], degrees[:, 1])])


def _box(text: str) -> Box:
    try:
        sides = [float(part) for part in text.split(",")]
    except ValueError as fault:
        raise BadRequest(say("box-of-degrees", text=text[:100])) from fault
    if len(sides) not in (4, 6) or not np.isfinite(sides).all():
        raise BadRequest(say("box-of-degrees", text=text[:100]))
    middle = len(sides) // 2
    west, south, east, north = *sides[:2], *sides[middle : middle + 2]
    if south > north:
        raise BadRequest(say("box-upside-down", south=south, north=north))
    return west, south, east, north


def _count(asked: Any, name: str, default: int) -> int:
    text = asked.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadRequest(say("not-a-whole-number", name=name, text=text[:100]))
    return int(text)


def _paged(request: Request, base: str, offset: int) -> str:
    asked = {key: value for key, value in request.query_params.items() if key != "offset"}
    return f"{base}/items?{urlencode(asked | {'offset': offset}, safe=',')}"


def _link(rel: str, href: str, kind: str = "application/json") -> dict[str, str]:
    return {"rel": rel, "type": kind, "href": href}


def _answer(request: Request, document: dict[str, Any], kind: str = "application/json") -> Response:
    if request.query_params.get("f", "json") not in ("json", "geojson"):
        raise BadRequest(say("json-only", form=request.query_params["f"]))
    return Response(json.dumps(document, ensure_ascii=False), media_type=kind, headers={"Vary": "Accept-Language"})


_BASE = "/ogc/jobs/{job}"
_PATHS = {
    f"{_BASE}/conformance": conformance,
    f"{_BASE}/collections": collections,
    f"{_BASE}/collections/{{name}}": collection,
    f"{_BASE}/collections/{{name}}/items": items,
    f"{_BASE}/collections/{{name}}/items/{{item:path}}": item,
}
ROUTES = [
    Route(f"{path}{slash}", endpoint, methods=["GET"])
    for path, endpoint in _PATHS.items()
    for slash in (("", "/") if "{item" not in path else ("",))
]
