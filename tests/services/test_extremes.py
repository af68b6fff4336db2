"""Whatever numbers an address holds: an answer, never a fault, and never more memory than the data and a limit cost."""

import random
import time
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from starlette.routing import Route

from services import app as application
from tests.conftest import Served, peak_mb, process_of

NUMBERS = (
    "0", "1", "-1", "1e9", "1e18", "-1e300", "1e300", "1e400", "nan", "inf", "-inf", "1e-300", "1e-7", "99999",
    "9223372036854775807", "9223372036854775808", "9" * 30, "9" * 5000, "-0", "+5", "0x10", "1_000", "", "x", "\0",
)  # fmt: skip
WHOLE = ("0", "1", "24", "25", "40", "31", "63", "64", "2147483648", "9223372036854775808", "9" * 40, "9" * 5000)
MOMENTS = (
    "0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31", "9999-12-31T23:59:59.999999-14:00", "1e18", "-1", "nan",
    "2024-02-30", "20240501", "2024-W01-1", "..", "../..", "/", "2024-01-01/..", "9999-12-31/0001-01-01", "\0",
)  # fmt: skip
PERIODS = ("raw", "1 min", "0 min", "9999 min", "99999 min", "-1 min", "1e9 min", "hour", "month", "nan", "")
SYSTEMS = (
    "EPSG:4326", "EPSG:3857", "EPSG:4547", "EPSG:2056", "EPSG:3031", "EPSG:0", "EPSG:4979", "EPSG:5773", "EPSG:9999999",
    "9" * 30, "nan", "",
)  # fmt: skip
EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
URIS = (f"{EPSG}4326", f"{EPSG}4547", f"{EPSG}3857", f"{EPSG}0", f"{EPSG}{'9' * 30}", f"{EPSG}nan", "x", "")
FILTERS = (
    "storeys > 1e400", "storeys > -1e300", f"storeys > {'9' * 400}", "storeys / 0 > 1", "height_m * 1e308 * 1e308 > 1",
    "storeys BETWEEN 1e300 AND -1e300", "load = 99999999999999999999", "valid_from > TIMESTAMP('9999-12-31T23:59:59Z')",
    "valid_from > DATE('0001-01-01')", "S_INTERSECTS(geometry, POINT(1e300 1e300))",
    "S_INTERSECTS(geometry, POLYGON((-180 -90, 180 -90, 180 90, -180 90, -180 -90)))",
    "S_INTERSECTS(geometry, BBOX(-1e300, -1e300, 1e300, 1e300))", "S_INTERSECTS(geometry, POINT(nan inf))",
)  # fmt: skip
JOB = "{job}"  # stands for that of a result
WORLD = "-180,-90,180,90"
INSIDE = (113.575, 37.857, 113.581, 37.862)


def boxes() -> list[str]:
    """Return boxes that are degenerate, swapped, of the world, of one extreme side, and of extremes altogether."""
    chance = random.Random(7)
    fixed = [WORLD, "0,0,1,1", "180,90,-180,-90", "0,0,0,0", "113.58,37.86,113.58,37.86", "1e300,1e300,-1e300,-1e300",
             "-1e300,-1e300,1e300,1e300", "113,37,114,39", "113.58,-90,113.59,90", "170,-10,-170,10", "1,2,3", "",
             "nan,nan,nan,nan", "-inf,-inf,inf,inf", "1,2,3,4,5,6", ",,,"]  # fmt: skip
    one_side = []
    for side in range(4):
        for number in ("-1e300", "1e9", "nan", "inf", "-inf", "0"):
            sides = [str(number_) for number_ in INSIDE]
            sides[side] = number
            one_side.append(",".join(sides))
    wild = [",".join(chance.choices(NUMBERS[:14], k=4)) for _ in range(12)]
    return fixed + one_side + wild


BOXES = boxes()
OF_DATA = {"bbox": BOXES, "limit": NUMBERS, "crs": SYSTEMS, "filter": FILTERS, "at": MOMENTS}
OF_MOMENT = {"at": MOMENTS}
FEATURE = {"layer": "building", "collection": "building", "id": "YQ00001", "item": "YQ00001", "feature": "P01"}
# a route → the values of its path's parameters, and what its parameters are tried with; every GET route stands here
TRIED: dict[str, list[tuple[dict[str, str], dict[str, tuple[str, ...] | list[str]]]]] = {
    "/data/{file}": [
        ({"file": "building.arrow"}, OF_DATA),
        ({"file": "parking_observation.arrow"}, {"at": MOMENTS, "limit": NUMBERS}),
        ({"file": "fire_station.gpkg"}, {"bbox": BOXES[:8], "crs": SYSTEMS}),
        ({"file": "fire_station.parquet"}, {"bbox": BOXES[:8], "crs": SYSTEMS}),
        ({"file": "fire_station.geojson"}, {"bbox": BOXES[:8], "crs": SYSTEMS}),
        ({"file": "fire_station.csv"}, {"bbox": BOXES[:8], "crs": SYSTEMS, "limit": NUMBERS}),
        ({"file": "building.city.jsonl"}, {"bbox": BOXES[:8], "limit": ("1", "-1", "1e9")}),
        ({"file": "terrain.tif"}, {"bbox": BOXES, "crs": SYSTEMS, "at": MOMENTS}),
    ],
    "/observations/{layer}/{feature:path}": [
        (
            {"layer": "parking_observation", "feature": "P01"},
            {"from": MOMENTS, "until": MOMENTS, "period": PERIODS},
        ),
        ({"layer": "parking_observation", "feature": "\0"}, {}),
    ],
    "/ogc/collections/{collection}/items": [
        (
            FEATURE,
            {
                "bbox": BOXES,
                "limit": NUMBERS,
                "offset": NUMBERS,
                "datetime": MOMENTS,
                "at": MOMENTS,
                "crs": URIS,
                "bbox-crs": URIS,
                "filter": FILTERS,
                "storeys": NUMBERS,
                "height_m": NUMBERS,
                "sortby": NUMBERS,
                "cursor": (*NUMBERS, "9999-12-31T23:59:59-14:00~x", "0001-01-01T00:00:00+14:00~"),
            },
        )
    ],
    "/ogc/collections/{collection}/items/{item:path}": [
        (FEATURE, {"datetime": MOMENTS, "at": MOMENTS, "crs": URIS}),
        ({"collection": "building", "item": "\0"}, {}),
    ],
    "/tiles/{layer}/{z:index}/{x:index}/{y:index}.mvt": [
        ({"layer": layer, "z": z, "x": x, "y": x}, OF_MOMENT if z == "14" else {})
        for layer in ("building", "tree")
        for z, x in [*((z, "0") for z in WHOLE), *(("14", x) for x in WHOLE)]
    ],
    "/terrain/{index}/{z:index}/{x:index}/{y:index}.terrain": [
        ({"index": index, "z": z, "x": z, "y": z}, {}) for index in ("none", "..", "9" * 300) for z in WHOLE
    ],
    "/terrain/layer.json": [({}, OF_MOMENT)],
    "/3dtiles/{layer}/tileset.json": [(FEATURE, OF_MOMENT)],
    "/3dtiles/{layer}/{kind:str}/{name}": [
        ({"layer": "building", "kind": kind, "name": name}, {})
        for kind in ("content", "..", "9" * 300, "\0")
        for name in ("x.glb", "..", "9" * 300, "\0")
    ],
    "/assets/{sha256}.tif": [({"sha256": text}, {}) for text in ("0", "9" * 300, "..", "\0", "é")],
    "/viewer/place": [({}, {"lon": NUMBERS, "lat": NUMBERS, "height": NUMBERS})],
    "/viewer/search": [({}, {"q": [*BOXES, *(f"{a},{b}" for a in NUMBERS[:14] for b in ("37.86", "nan")), "\0"]})],
    "/viewer/catalog.json": [({}, OF_MOMENT)],
    "/viewer/marks/{layer}.json": [(FEATURE, OF_MOMENT)],
    "/viewer/datasets/{layer}.json": [(FEATURE, OF_MOMENT)],
    "/viewer/provenance/{layer}/{id:path}": [(FEATURE, OF_MOMENT), ({"layer": "building", "id": "\0"}, {})],
    "/viewer/tools/{name:path}.js": [
        ({"name": name}, {}) for name in ("", "..", "../../etc/passwd", "9" * 300, "\0", "é/é")
    ],
    "/viewer/uploads/jobs/{job}": [({"job": number or "-"}, {}) for number in NUMBERS],
    "/viewer/uploads/jobs/{job}/quality": [({"job": number or "-"}, {}) for number in NUMBERS[:4]],
    "/data/layers.json": [({}, OF_MOMENT)],
    "/ogc/jobs/{job}": [({"job": number or "-"}, {}) for number in NUMBERS],
    "/ogc/jobs/{job}/results": [({"job": number or "-"}, {}) for number in NUMBERS[:4]],
    "/ogc/jobs/{job}/results.{form}": [({"job": number or "-", "form": "tif"}, {}) for number in NUMBERS[:4]],
    "/ogc/jobs/{job}/conformance": [({"job": JOB}, {})],
    "/ogc/jobs/{job}/collections": [({"job": JOB}, {}), ({"job": "9" * 30}, {})],
    "/ogc/jobs/{job}/collections/{name}": [({"job": JOB, "name": name}, {}) for name in ("results", "\0")],
    "/ogc/jobs/{job}/collections/{name}/items": [
        ({"job": JOB, "name": "results"}, {"bbox": BOXES, "limit": NUMBERS, "offset": NUMBERS})
    ],
    "/ogc/jobs/{job}/collections/{name}/items/{item:path}": [
        ({"job": JOB, "name": "results", "item": item}, {}) for item in ("\0", "é", "../x", *WHOLE)
    ],
    "/ogc/processes/{process}": [({"process": number or "-"}, {}) for number in NUMBERS[:4]],
    "/styles/{layer}/{form}": [({"layer": "building", "form": "qml"}, OF_MOMENT)],
    "/qgis/project.qgs": [({}, OF_MOMENT)],
    "/{path:path}": [({"path": path}, {}) for path in ("9" * 300, "../../etc/passwd", "\0", "assets/\0")],
}
# their answers hold nothing that a number in the address could change
WITHOUT_NUMBERS = {
    "/", "/health", "/metrics", "/data/city.json", "/ogc", "/ogc/openapi", "/ogc/conformance", "/ogc/collections",
    "/ogc/collections/{collection}", "/ogc/collections/{collection}/schema",
    "/ogc/collections/{collection}/queryables", "/ogc/processes", "/ogc/processes/{process}/execution", "/ogc/jobs",
}  # fmt: skip
ENDLESS = {"/viewer/events"}


def analysed(client: httpx.Client) -> str:
    """The job of a result."""
    answer = client.post(
        "/ogc/processes/cell_statistics/execution",
        json={"inputs": {"cells": "district"}},
        headers={"Prefer": "respond-async"},
    )
    job = str(answer.json()["jobID"])
    while client.get(f"/ogc/jobs/{job}").json()["status"] in ("accepted", "running"):
        time.sleep(0.1)
    return job


def addresses(path: str) -> Iterator[str]:
    """Yield what a route is asked with: each parameter by itself with each of its extremes."""
    for values, parameters in TRIED[path]:
        address = path
        for name, value in values.items():
            for form in ("", ":index", ":path", ":str"):
                address = address.replace(f"{{{name}{form}}}", quote(value, safe="/"))
        yield address
        others = {"lon": "113.58", "lat": "37.86"} if path == "/viewer/place" else {}
        for name, extremes in parameters.items():
            for extreme in extremes:
                asked = others | {name: extreme}
                yield f"{address}?{'&'.join(f'{key}={quote(value)}' for key, value in asked.items())}"


def paths() -> list[str]:
    known = {
        route.path.rstrip("/") or "/"
        for route in application.ROUTES
        if isinstance(route, Route) and "GET" in (route.methods or ())
    }
    return sorted(known - WITHOUT_NUMBERS - ENDLESS)


@pytest.mark.parametrize("path", paths())
def test_no_number_is_a_fault_of_the_server_or_costs_its_memory(sample_city: Served, path: str) -> None:
    process = process_of(sample_city.url)
    with httpx.Client(base_url=sample_city.url, timeout=120) as client:
        job = analysed(client) if any(values.get("job") == JOB for values, _ in TRIED[path]) else ""
        for template in addresses(path):
            address = template.replace(quote(JOB), job)
            before = peak_mb(process, anew=True)
            answer = client.get(address)
            assert answer.status_code < 500, f"{address[:200]}: {answer.text[:300]}"
            grown = peak_mb(process) - before
            assert grown < MOST_MB, f"{address[:200]}: {grown:.0f} MB"


MOST_MB = 300


def test_a_box_far_away_holds_no_raster_and_one_too_large_names_the_way_out(sample_city: Served) -> None:
    nothing = httpx.get(f"{sample_city.url}/data/terrain.tif?bbox=0,0,1,1")
    assert nothing.status_code == 404
    assert "box" in nothing.json()["detail"]


INPUTS = ("0", "-1", "1", "1e300", "-1e300", "1e400", "-1e400", "NaN", "1e-300", "9" * 400, "null", "[]", '"x"')
TIMES = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1500-01-01T00:00:00Z", "2024-05-06T00:00:00+14:00", "x")
PLACES = (
    '{"type": "Point", "coordinates": [1e300, 1e300]}', '{"type": "Point", "coordinates": [1e400, NaN]}',
    '{"type": "Polygon", "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]}',
    '{"type": "Polygon", "coordinates": []}', '{"type": "Point", "coordinates": [113.58, 37.86, 1e300]}', "{}",
)  # fmt: skip
SESSIONS = '[{"enter": "0001-01-01T00:00:00Z", "leave": "9999-01-01T00:00:00Z"}, {"enter": 1e300, "leave": null}]'
EXECUTED: dict[str, tuple[dict[str, str], dict[str, tuple[str, ...]]]] = {
    "incident": (
        {"lon": "113.578", "lat": "37.858"},
        {"lon": INPUTS, "lat": INPUTS, "radius_m": INPUTS, "minutes": INPUTS, "geometry": PLACES},
    ),
    "parking_indicators": (
        {},
        {
            "max_gap_min": INPUTS, "start": tuple(f'"{time}"' for time in TIMES), "sessions": (SESSIONS,),
            "spaces": INPUTS,
        },
    ),
    "cell_statistics": (
        {"cells": '"district"', "where": "\"id = 'YQ00001'\""},  # the finest hexagons of a whole city take a minute
        {
            "cells": ('"h3:0"', '"h3:15"', '"h3:16"', '"h3:²"', '"h3:-1"', f'"h3:{"9" * 5000}"'),
            "where": ('"storeys / 0 > 1"', '"height_m * 1e308 * 1e308 > 1"'),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("process", EXECUTED)
def test_no_input_of_an_analysis_is_a_fault_of_the_server(sample_city: Served, process: str) -> None:
    given, tried = EXECUTED[process]
    with httpx.Client(base_url=sample_city.url, timeout=120) as client:
        for name, texts in tried.items():
            for text in texts:
                inputs = ", ".join(f'"{key}": {value}' for key, value in (given | {name: text}).items())
                body = f'{{"inputs": {{{inputs}}}}}'
                answer = client.post(f"/ogc/processes/{process}/execution", content=body)
                assert answer.status_code < 500, f"{body[:200]}: {answer.text[:300]}"
