"""A layer's style as QGIS has it: a renderer, labels, and the QML file around them."""

from xml.etree.ElementTree import Element, SubElement, tostring

from cim.catalog.model import Catalog, Layer
from cim.catalog.style import Style

PX_PER_MM = 96 / 25.4
OTHER = "#b9b9b2"
DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def qml(layer: Layer, catalog: Catalog, language: str = "zh") -> str:
    """Return the QML file of a layer."""
    root = Element("qgis", {"version": "3.22.0", "styleCategories": "Symbology|Labeling"})
    style_elements(root, layer, catalog, language)
    return DOCTYPE + tostring(root, encoding="unicode")


def style_elements(parent: Element, layer: Layer, catalog: Catalog, language: str) -> None:
    """Add renderer and labels of a layer to its element."""
    style = layer.drawn_as
    field = next((f for f in layer.fields if f.name == style.color_by), None)
    codes = catalog.codes(field) if field else None
    if field and codes:
        renderer = SubElement(
            parent,
            "renderer-v2",
            {"type": "categorizedSymbol", "attr": field.name, "enableorderby": "0", "forceraster": "0"},
        )
        categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
        rows = [(code.value, code.title.to(language), code.color or OTHER) for code in codes.codes]
        for n, (value, title, color) in enumerate(
            [*rows, ("", "其他" if language == "zh" else "other", style.fill or OTHER)]
        ):
            SubElement(categories, "category", {"value": value, "symbol": str(n), "label": title, "render": "true"})
            _symbol(symbols, str(n), layer, style, color)
    else:
        renderer = SubElement(
            parent,
            "renderer-v2",
            {"type": "singleSymbol", "enableorderby": "0", "forceraster": "0", "symbollevels": "0"},
        )
        _symbol(SubElement(renderer, "symbols"), "0", layer, style, style.fill or OTHER)
    if style.label and any(f.name == style.label for f in layer.fields):
        _labels(parent, layer, style)


def _symbol(parent: Element, name: str, layer: Layer, style: Style, color: str) -> None:
    if layer.geometry == "MultiPolygon":
        outline = {"outline_style": "solid" if style.stroke else "no"}
        properties = {
            "color": rgba(color),
            "style": "solid" if style.fill or style.color_by else "no",
            "outline_color": rgba(style.stroke or OTHER),
            "outline_width": _millimetres(style.stroke_width_px),
            "outline_width_unit": "MM",
            **outline,
        }
        kind, drawn = "fill", "SimpleFill"
    elif layer.geometry == "MultiLineString":
        properties = {
            "line_color": rgba(color),
            "line_width": _millimetres(3.0),
            "line_width_unit": "MM",
            "capstyle": "round",
            "joinstyle": "round",
        }
        kind, drawn = "line", "SimpleLine"
    else:
        properties = {
            "name": "circle",
            "color": rgba(color),
            "outline_color": "255,255,255,255",
            "outline_width": "0.3",
            "size": "3",
            "size_unit": "MM",
        }
        kind, drawn = "marker", "SimpleMarker"
    symbol = SubElement(parent, "symbol", {"type": kind, "name": name, "alpha": "1", "clip_to_extent": "1"})
    if kind == "line" and style.casing:
        casing = properties | {"line_color": rgba(style.casing), "line_width": _millimetres(4.5)}
        _symbol_layer(symbol, drawn, casing)
    _symbol_layer(symbol, drawn, properties)


def _symbol_layer(symbol: Element, drawn: str, properties: dict[str, str]) -> None:
    element = SubElement(symbol, "layer", {"class": drawn, "enabled": "1", "locked": "0", "pass": "0"})
    for key, value in properties.items():
        SubElement(element, "prop", {"k": key, "v": value})


def _labels(parent: Element, layer: Layer, style: Style) -> None:
    labeling = SubElement(parent, "labeling", {"type": "simple"})
    settings = SubElement(labeling, "settings", {"calloutType": "simple"})
    text = SubElement(
        settings, "text-style",
        {"fieldName": style.label or "", "isExpression": "0", "fontFamily": "Noto Sans CJK SC", "fontSize": "8",
         "fontSizeUnit": "Point", "textColor": rgba(style.label_color), "textOpacity": "1"},
    )  # fmt: skip
    buffer = {"bufferDraw": "1", "bufferSize": "0.8", "bufferSizeUnits": "MM", "bufferColor": "255,255,255,230"}
    SubElement(text, "text-buffer", buffer)
    placement = {"MultiPolygon": "1", "MultiLineString": "3", "Point": "6"}[layer.geometry or "Point"]
    SubElement(settings, "placement", {"placement": placement, "dist": "1"})
    # a camera some metres up sees about what a map of this scale shows
    scale = str(round(style.label_from_m * 4))
    SubElement(settings, "rendering", {"scaleVisibility": "1", "scaleMin": "0", "scaleMax": scale, "drawLabels": "1"})


def rgba(color: str) -> str:
    """Return '#rrggbb' or '#rrggbbaa' as 'r,g,b,a'."""
    digits = color.removeprefix("#")
    parts = [int(digits[k : k + 2], 16) for k in range(0, len(digits), 2)]
    return ",".join(str(p) for p in (parts if len(parts) == 4 else [*parts, 255]))


def _millimetres(pixels: float) -> str:
    return f"{pixels / PX_PER_MM:.3f}"
