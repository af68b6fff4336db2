"""`/styles` and `/qgis`: each layer's style as clients want it, and a ready-made QGIS project."""

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cim.errors import NotFound
from cim.messages import say
from cim.read.layer_summary import extent
from cim.store.kinds import kind_of
from services.http import context
from services.http.ask import ASK
from styles.qgis_project import qgis_project
from styles.qml import qml
from styles.web import maplibre, tiles3d

NO_CACHE = {"Cache-Control": "no-cache"}


def style(request: Request) -> Response:
    """Answer a layer's style: qml, maplibre or 3dtiles."""
    state = context.of(request)
    layer, catalog, ask = state.layer(request.path_params["layer"]), state.store.catalog, ASK.get()
    form = request.path_params["form"]
    if layer.geometry is None:
        raise NotFound(say("has-no-geometry-style-draws", layer=layer.id))
    if form == "qml":
        return Response(
            qml(layer, catalog, ask.language), headers=NO_CACHE, media_type="application/x-qgis-layer-settings"
        )
    if form == "maplibre":
        text = json.dumps(maplibre(layer, catalog, ask.base_url), ensure_ascii=False)
        return Response(text, headers=NO_CACHE, media_type="application/vnd.mapbox.style+json")
    if form == "3dtiles" and layer.leaf_level is not None:
        return Response(json.dumps(tiles3d(layer, catalog)), headers=NO_CACHE, media_type="application/json")
    raise NotFound(
        say("no-style", form=form, layer=layer.id, others=", 3dtiles" if layer.leaf_level is not None else "")
    )


def project(request: Request) -> Response:
    """Answer the QGIS project: the layers that hold something, grouped by CIM class, in their styles."""
    state, ask = context.of(request), ASK.get()
    layers = [layer for layer in state.store.catalog.layers.values() if kind_of(layer).drawn]
    with state.cursor() as cursor:
        filled_layers = [layer for layer in layers if extent(cursor, [layer]) is not None]
        box = (
            extent(cursor, [layer for layer in filled_layers if layer.leaf_level is not None] or filled_layers)
            if filled_layers
            else None
        )
    text = qgis_project(
        state.store.city, state.store.catalog, filled_layers, ask.base_url, extent=box, language=_language(request)
    )
    headers = NO_CACHE | {"Content-Disposition": 'attachment; filename="project.qgs"'}
    return Response(text, headers=headers, media_type="application/x-qgis-project")


def _language(request: Request) -> str:
    """QGIS asks without a language: then the city's own is meant."""
    asked = request.query_params.get("lang") or request.headers.get("accept-language")
    return ASK.get().language if asked else "zh"


ROUTES = [
    Route("/styles/{layer}/{form}", style),
    Route("/qgis/project.qgs", project),
]
