"""What the viewer asks for beside tiles and features: the catalogue tree, the city, a place in the city's terms."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from pyproj import CRS
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from cim.catalog.model import Layer, LayerField
from cim.errors import BadRequest, NotFound
from cim.messages import say
from cim.read.layer_summary import extent, file_counts, key_figures, layer_counts, layer_datasets, unknown_codes
from cim.read.layers import read_marks
from cim.read.object_search import search
from cim.read.terrain import median_height, surfaces
from cim.store.connection import Cursor
from cim.store.kinds import kind_of
from services.http import answers, context, viewer_tools
from services.http.ask import ASK
from services.http.named_files import file_in

BUILT = Path(__file__).parents[1] / "static" / "viewer"
NOT_BUILT = """<!doctype html><meta charset="utf-8"><title>cim</title><body style="font-family:sans-serif;margin:4rem">
<h1>The viewer isn't built yet</h1><p>In the project's folder: <code>make viewer</code></p>
<h1>查看器尚未构建</h1><p>请在项目目录运行 <code>make viewer</code></p>"""


def page(_: Request) -> Response:
    """Answer the viewer's page."""
    index = BUILT / "index.html"
    return (
        FileResponse(index, headers={"Cache-Control": "no-cache"}) if index.exists() else HTMLResponse(NOT_BUILT, 503)
    )


def asset(request: Request) -> Response:
    """Answer a file of the built viewer."""
    path = file_in(BUILT, request.path_params["path"])
    hashed = "assets/" in request.path_params["path"]
    return FileResponse(path, headers={"Cache-Control": "public, max-age=31536000, immutable"} if hashed else None)


def catalog(request: Request) -> Response:
    """Answer the catalogue tree: classes, their layers, fields, code lists, styles and counts, in both languages."""
    state = context.of(request)
    catalog, city = state.store.catalog, state.store.city
    features = catalog.of_kind("feature")
    with state.cursor() as cursor:
        counts = layer_counts(cursor, features, ASK.get().at) | file_counts(cursor, ASK.get().at)
        solid = [layer for layer in features if layer.leaf_level is not None and not layer.symbol]
        box = extent(cursor, solid) or extent(cursor, features)
        figures = key_figures(cursor, features, ASK.get().at)
        unknown = unknown_codes(cursor, catalog, features, ASK.get().at)
        tiled = _roots(cursor)
        moments = _moments(cursor)
        around = _degrees(state, box)
        ground_height = _ground_height(state, cursor, tiled, around)
    layers = sorted(catalog.layers.values(), key=lambda layer: (layer.class_code, layer.id))
    ground = catalog.with_role("ground")
    answer = answers.Catalog(
        city=answers.City(name=city.name, srid=city.srid, vertical_datum=city.vertical_datum, timezone=city.timezone),
        box=around,
        ground_height_m=ground_height,
        classes=[answers.DataClass(code=c.code, title=c.title) for c in catalog.classes],
        code_lists={k: list(v.codes) for k, v in catalog.code_lists.items()},
        layers=[
            _layer(layer, counts.get(layer.id, 0), layer.id in tiled, unknown.get(layer.id, [])) for layer in layers
        ],
        terrain=bool(ground and ground.id in tiled),
        moments=moments,
        figures=[
            answers.KeyFigure(layer=layer.id, title=layer.figure.title, unit=layer.figure.unit, value=figures[layer.id])
            for layer in sorted(features, key=lambda layer: layer.figure.rank if layer.figure else 0)
            if layer.figure and layer.id in figures
        ],
        tools=viewer_tools.addresses(),
    )
    return JSONResponse(answer.document(), headers={"Cache-Control": "no-cache"})


def place(request: Request) -> Response:
    """Answer a place on the globe as people here know it: the city's plane coordinates, height and ground height."""
    state = context.of(request)
    try:
        lon, lat = (np.array([float(request.query_params[key])]) for key in ("lon", "lat"))
        height = float(request.query_params["height"]) if "height" in request.query_params else None
    except (KeyError, ValueError) as fault:
        raise BadRequest(say("place-needs-lon-lat-degrees")) from fault
    x, y = state.from_wgs84(lon, lat)
    if not np.isfinite([x[0], y[0], height or 0.0]).all():
        raise BadRequest(say("cannot-put-into-epsg", lon=lon[0], lat=lat[0], srid=state.store.city.srid))
    anomaly = float(state.frame.rise(x, y)[0])
    answer = answers.Place(
        srid=state.store.city.srid,
        x=float(x[0]),
        y=float(y[0]),
        anomaly=anomaly,
        height=None if height is None else height - anomaly,
    )
    return JSONResponse(answer.document())


_FOUND = 12  # results of a search


def find(request: Request) -> Response:
    """Answer what some words name: a coordinate (degrees, or the city's plane), or objects by id, name or code."""
    state = context.of(request)
    words = request.query_params.get("q", "").strip()
    if not words:
        raise BadRequest(say("search-needs-q"))
    place = _coordinate(state, words)
    if place is not None:
        hit = answers.Hit(layer=None, id=None, text=words, lon=place[0], lat=place[1], crs=place[2])
        return JSONResponse([hit.document()])
    with state.cursor() as cursor:
        matches = search(cursor, state.store.catalog.of_kind("feature"), words, _FOUND, ASK.get().at)
    lon, lat = state.to_wgs84(np.array([f[3] for f in matches], float), np.array([f[4] for f in matches], float))
    rows = zip(matches, lon.tolist(), lat.tolist(), strict=True)
    hits = [answers.Hit(layer=f[0], id=f[1], text=f[2], lon=x, lat=y) for f, x, y in rows]
    return JSONResponse([hit.document() for hit in hits])


def _coordinate(state: context.Context, words: str) -> tuple[float, float, str] | None:
    """Return longitude, latitude and the CRS of words that are a pair of numbers, else None.

    Degrees may stand in either order where only one of them can be a latitude here; plane coordinates too, by the
    extent of the city.
    """
    parts = [p for p in re.split(r"[\s,，;；]+", words) if p]
    try:
        a, b = (float(p.rstrip("°EeNn东北")) for p in parts)
    except ValueError:
        return None
    west, south, east, north = state.store.city.extent or (-180.0, -90.0, 180.0, 90.0)

    def near(lon: float, lat: float) -> bool:
        return west - 1 <= lon <= east + 1 and south - 1 <= lat <= north + 1

    for lon, lat in ((a, b), (b, a)):
        if near(lon, lat):
            return lon, lat, "EPSG:4326"
    for x, y in ((a, b), (b, a)):
        lons, lats = state.to_wgs84(np.array([x]), np.array([y]))
        if np.isfinite([lons[0], lats[0]]).all() and near(float(lons[0]), float(lats[0])):
            return float(lons[0]), float(lats[0]), f"EPSG:{state.store.city.srid}"
    return None


def provenance(request: Request) -> Response:
    """Answer where an object's content comes from: dataset, survey date, load, and how it is known."""
    from cim.read.layers import provenance as read

    state = context.of(request)
    layer = state.layer(request.path_params["layer"])
    with state.cursor() as cursor:
        origin = read(cursor, layer, request.path_params["id"], ASK.get().at)
    if origin is None:
        raise NotFound(say("no-such-object", layer=layer.id, object=request.path_params["id"]))
    if ASK.get().public_only:
        origin["operator"] = None  # who worked on it concerns who works here
    moments = {name: origin[name] for name in ("loaded", "valid_from", "valid_until") if origin[name]}
    origin |= {name: state.store.city.clock.shown(moment) for name, moment in moments.items()}
    return JSONResponse(answers.Provenance(**origin).document())


def marks(request: Request) -> Response:
    """Answer where a layer's signs and labels stand: id, longitude, latitude, text; a name of a street once."""
    state = context.of(request)
    layer = state.layer(request.path_params["layer"])
    if not kind_of(layer).drawn:
        raise NotFound(say("has-no-marks", layer=layer.id))
    label = layer.drawn_as.label
    with state.cursor() as cursor:
        rows = read_marks(
            cursor, layer, label if label in {f.name for f in layer.public_fields} else None, ASK.get().at
        )
    lon, lat = state.to_wgs84(np.array([m[1] for m in rows], float), np.array([m[2] for m in rows], float))
    places = zip(rows, lon.tolist(), lat.tolist(), strict=True)
    return JSONResponse([answers.Mark(id=m[0], lon=x, lat=y, text=m[3]).document() for m, x, y in places])


def datasets(request: Request) -> Response:
    """Answer which datasets a layer's content comes from: name, survey date, licence, objects; the newest first."""
    state = context.of(request)
    layer = state.layer(request.path_params["layer"])
    with state.cursor() as cursor:
        rows = layer_datasets(cursor, layer, ASK.get().at)
    notes = [answers.DatasetNote(name=row[0], surveyed=row[1], licence=row[2], count=row[3]) for row in rows]
    return JSONResponse([note.document() for note in notes])


def _moments(cursor: Cursor) -> list[str]:
    rows = cursor.execute(
        "SELECT DISTINCT lower(valid) FROM cim.tile_root WHERE NOT lower_inf(valid) ORDER BY 1"
    ).fetchall()
    return [row[0].isoformat() for row in rows]


def _roots(cursor: Cursor) -> dict[str, str]:
    """Return the name of each layer's root of tiles at the moment that is asked for."""
    cursor.execute(
        "SELECT layer, name FROM cim.tile_root WHERE valid @> coalesce(%s::timestamptz, now())", [ASK.get().at]
    )
    return dict(cursor.fetchall())


_SOUNDINGS = 9  # a side
_GROUNDS_KNOWN = 100


def _ground_height(state: context.Context, cursor: Cursor, roots: Mapping[str, str], box: answers.Box) -> float:
    """Return the ellipsoidal height of the ground amid a box, metres, as the page shows it: 0 without terrain."""
    layer = state.store.catalog.with_role("ground")
    root = roots.get(layer.id) if layer else None
    if layer is None or root is None:
        return 0.0
    if (root, box) not in state.ground_heights:
        lon, lat = np.meshgrid(*(np.linspace(box[n], box[n + 2], _SOUNDINGS) for n in (0, 1)))
        x, y = state.from_wgs84(lon.ravel(), lat.ravel())
        files = surfaces(cursor, state.store, layer, ASK.get().at, public_only=True)  # as terrain tiles are
        height = median_height(files, x, y)
        rise = float(np.median(state.frame.rise(x, y)))
        if len(state.ground_heights) > _GROUNDS_KNOWN:
            state.ground_heights.clear()
        state.ground_heights[root, box] = 0.0 if height is None else height + rise
    return state.ground_heights[root, box]


def _degrees(state: context.Context, box: answers.Box | None) -> answers.Box:
    if box is None:
        used = CRS.from_epsg(state.store.city.srid).area_of_use
        return state.store.city.extent or (used.bounds if used else (-180.0, -90.0, 180.0, 90.0))
    lon, lat = state.to_wgs84(np.array([box[0], box[2], box[0], box[2]]), np.array([box[1], box[3], box[3], box[1]]))
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def _layer(layer: Layer, count: int, tiled: bool, unknown: Iterable[tuple[str, str, int]]) -> answers.Layer:
    kind = kind_of(layer)
    return answers.Layer(
        id=layer.id,
        kind=layer.kind,
        geometry=layer.geometry,
        observes=layer.observes,
        role=layer.role,
        symbol=layer.symbol,
        cim_level=layer.cim_level,
        title=layer.title,
        description=layer.description,
        class_code=layer.class_code,
        order=layer.order,
        count=count,
        bodies=tiled and kind.tiled(layer) and kind.drawing != "ground",
        drawing=kind.drawing,
        counted=kind.counted,
        takes_records=kind.takes_records,
        fields=[_field(f) for f in layer.fields],
        unknown_codes=[answers.UnknownCode(field=field, value=value, count=count) for field, value, count in unknown],
        style=layer.drawn_as,
    )


def _field(field: LayerField) -> answers.LayerField:
    return answers.LayerField(
        name=field.name,
        title=field.title,
        type=field.type,
        unit=field.unit,
        codes=field.codes,
        role=field.role,
        additive=field.additive,
    )


ROUTES = [
    Route("/", page),
    Route("/viewer/catalog.json", catalog),
    Route("/viewer/place", place),
    Route("/viewer/search", find),
    Route("/viewer/marks/{layer}.json", marks),
    Route("/viewer/datasets/{layer}.json", datasets),
    Route("/viewer/provenance/{layer}/{id:path}", provenance),
    *viewer_tools.ROUTES,
    Route("/{path:path}", asset),
]
