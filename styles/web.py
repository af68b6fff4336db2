"""A layer's style as web clients have it: MapLibre over the vector tiles, and a 3D Tiles style."""

from typing import Any

from cim.catalog.model import Catalog, Layer
from cim.catalog.style import Style

OTHER = "#b9b9b2"


def maplibre(layer: Layer, catalog: Catalog, base_url: str) -> dict[str, Any]:
    """Return a MapLibre style (version 8) with the layer's vector tiles as its source."""
    style = layer.drawn_as
    color = _by_code(layer, catalog, style, style.fill or OTHER)
    source = {"source": layer.id, "source-layer": layer.id}
    layers: list[dict[str, Any]] = []
    if layer.geometry == "MultiPolygon":
        if style.fill or style.color_by:
            layers.append({"id": f"{layer.id}-fill", "type": "fill", **source, "paint": {"fill-color": color}})
        if style.stroke:
            paint: dict[str, Any] = {"line-color": style.stroke, "line-width": style.stroke_width_px}
            if style.dash_px:
                paint["line-dasharray"] = list(style.dash_px)
            layers.append({"id": f"{layer.id}-line", "type": "line", **source, "paint": paint})
    elif layer.geometry == "MultiLineString":
        if style.casing:
            paint = {"line-color": style.casing, "line-width": 5}
            layers.append({"id": f"{layer.id}-casing", "type": "line", **source, "paint": paint})
        layers.append(
            {"id": f"{layer.id}-line", "type": "line", **source, "paint": {"line-color": color, "line-width": 3}}
        )
    elif layer.geometry == "Point":
        paint = {
            "circle-color": color,
            "circle-radius": 6,
            "circle-stroke-color": "#ffffff",
            "circle-stroke-width": 1.5,
        }
        layers.append({"id": f"{layer.id}-point", "type": "circle", **source, "paint": paint})
    tiles = {"type": "vector", "tiles": [f"{base_url}/tiles/{layer.id}/{{z}}/{{x}}/{{y}}.mvt"], "maxzoom": 16}
    return {"version": 8, "name": layer.title.zh, "sources": {layer.id: tiles}, "layers": layers}


def _by_code(layer: Layer, catalog: Catalog, style: Style, other: str) -> Any:
    field = next((f for f in layer.fields if f.name == style.color_by), None)
    codes = catalog.codes(field) if field else None
    if not field or not codes:
        return other
    pairs = [part for code in codes.codes for part in (code.value, code.color or OTHER)]
    return ["match", ["get", field.name], *pairs, other]


def tiles3d(layer: Layer, catalog: Catalog) -> dict[str, Any]:
    """Return a 3D Tiles style: https://github.com/CesiumGS/3d-tiles/tree/main/specification/Styling."""
    style = layer.drawn_as
    field = next((f for f in layer.fields if f.name == style.color_by), None)
    codes = catalog.codes(field) if field else None
    rows = (
        [[f"${{{field.name}}} === '{c.value}'", f"color('{c.color or OTHER}')"] for c in codes.codes]
        if field and codes
        else []
    )
    return {"color": {"conditions": [*rows, ["true", f"color('{(style.fill or OTHER)[:7]}')"]]}}
