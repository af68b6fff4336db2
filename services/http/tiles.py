"""3D Tiles, terrain and vector tiles. All but the roots is immutable: a name says what is in it."""

from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from cim.errors import BadRequest, NotFound
from cim.messages import say
from cim.read.tile_rows import vector_tile
from cim.store.assets import asset_path
from cim.store.kinds import kind_of
from services.http import context
from services.http.ask import ASK
from services.http.named_files import file_in

IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
CHANGING = {"Cache-Control": "no-cache"}
MEDIA_TYPES = {".glb": "model/gltf-binary", ".json": "application/json", ".terrain": "application/vnd.quantized-mesh"}
MEDIA_TYPES |= dict.fromkeys((".b3dm", ".i3dm", ".pnts", ".cmpt"), "application/octet-stream")
MVT = "application/vnd.mapbox-vector-tile"


def root(request: Request) -> Response:
    """Answer a layer's root tileset at a moment of city time."""
    state = context.of(request)
    layer = state.layer(request.path_params["layer"])
    name, folder = _root_name(state, layer.id), state.store.settings.tile_store / layer.id
    document = (folder / "tileset" / name).read_bytes().replace(b'"../', b'"')
    return _changing(request, document, name)


def stored(request: Request) -> Response:
    """Answer a file of the store by its name."""
    state = context.of(request)
    layer, kind, name = (request.path_params[key] for key in ("layer", "kind", "name"))
    path = file_in(state.store.settings.tile_store / state.layer(layer).id, f"{kind}/{name}")
    return FileResponse(path, media_type=MEDIA_TYPES.get(path.suffix), headers=IMMUTABLE)


def terrain_layer(request: Request) -> Response:
    """Answer terrain's layer.json at a moment of city time."""
    state = context.of(request)
    layer = state.store.catalog.with_role("ground")
    if layer is None:
        raise NotFound(say("catalog-has-no-layer-role-ground"))
    name = _root_name(state, layer.id)
    return _changing(request, file_in(state.store.settings.tile_store / layer.id / "tileset", name).read_bytes(), name)


def terrain_tile(request: Request) -> Response:
    """Answer a terrain tile by the name of its content, which the address of an older root also leads to."""
    from tiles.terrain import tile_name

    state = context.of(request)
    layer = state.store.catalog.with_role("ground")
    if layer is None:
        raise NotFound(say("catalog-has-no-layer-role-ground"))
    z, x, y = (request.path_params[key] for key in ("z", "x", "y"))
    folder = state.store.settings.tile_store / layer.id
    file_in(folder / "tileset", f"{request.path_params['index']}.json")
    name = tile_name(folder, request.path_params["index"], z, x, y)
    if name is None:
        raise NotFound(say("no-terrain-tile", z=z, x=x, y=y))
    path = file_in(folder / "content", name)
    return FileResponse(path, media_type=MEDIA_TYPES[".terrain"], headers=IMMUTABLE)


def mvt(request: Request) -> Response:
    """Answer a vector tile of a feature layer."""
    state = context.of(request)
    layer = state.layer(request.path_params["layer"])
    z, x, y = (request.path_params[key] for key in ("z", "x", "y"))
    if not kind_of(layer).drawn:
        raise NotFound(say("has-no-vector-tiles", layer=layer.id))
    if not (0 <= z <= 24 and 0 <= x < 2**z and 0 <= y < 2**z):
        raise BadRequest(say("no-tile", z=z, x=x, y=y))
    with state.cursor() as cursor:
        tile = vector_tile(cursor, layer, state.store.city.srid, (z, x, y), ASK.get().at)
    return Response(tile, media_type=MVT, headers=CHANGING)


def asset(request: Request) -> Response:
    """Answer a raster of the asset store, named by its content, where a row leads to it that the asker may see."""
    state = context.of(request)
    sha256 = request.path_params["sha256"]
    rasters = [layer.id for layer in state.store.catalog.of_kind("raster")]
    with state.cursor() as cursor:
        row = cursor.execute(
            "SELECT sha256 FROM cim.asset WHERE sha256 = %s AND layer = ANY(%s) AND upper_inf(recorded) LIMIT 1",
            [sha256, rasters],
        ).fetchone()
    if row is None:
        raise NotFound(say("no-asset", sha256=sha256[:64]))
    path = asset_path(state.store.settings, row[0])
    path = file_in(path.parent, path.name)
    return FileResponse(path, media_type="image/tiff; application=geotiff", headers=IMMUTABLE)


def _root_name(state: context.Context, layer: str) -> str:
    with state.cursor() as cursor:
        row = cursor.execute(
            "SELECT name FROM cim.tile_root WHERE layer = %s AND valid @> coalesce(%s::timestamptz, now())",
            [layer, ASK.get().at],
        ).fetchone()
    if row is None:
        raise NotFound(say("no-tiles-yet", layer=layer))
    return str(row[0])


def _changing(request: Request, document: bytes, name: str) -> Response:
    tag = f'"{name.split(".", maxsplit=1)[0][:32]}"'
    headers = CHANGING | {"ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(document, media_type="application/json", headers=headers)


class _Index(IntegerConvertor):
    """A whole number of an address, short enough for any integer of PostgreSQL; a longer one names no tile."""

    regex = "[0-9]{1,18}"


register_url_convertor("index", _Index())
ROUTES = [
    Route("/3dtiles/{layer}/tileset.json", root),
    Route("/3dtiles/{layer}/{kind:str}/{name}", stored),
    Route("/terrain/layer.json", terrain_layer),
    Route("/terrain/{index}/{z:index}/{x:index}/{y:index}.terrain", terrain_tile),
    Route("/assets/{sha256}.tif", asset),
    Route("/tiles/{layer}/{z:index}/{x:index}/{y:index}.mvt", mvt),
]
