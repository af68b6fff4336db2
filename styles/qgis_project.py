"""A QGIS project of the city: every layer over OGC API - Features, grouped by CIM class, in its style."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from cim.catalog.model import Catalog, Layer
from cim.city import City
from styles.qml import DOCTYPE, style_elements

WKB = {
    "MultiPolygon": ("Polygon", "MultiPolygon"),
    "MultiLineString": ("Line", "MultiLineString"),
    "Point": ("Point", "Point"),
}
DEEPEST_TILE = 16


def qgis_project(
    city: City,
    catalog: Catalog,
    layers: Sequence[Layer],
    base_url: str,
    *,
    extent: tuple[float, float, float, float] | None,
    language: str = "zh",
) -> str:
    """Return the project file.

    Args:
        city: its CRS is the project's.
        catalog: classes and code lists.
        layers: those that are in the project; feature layers.
        base_url: address of the server as the asker spells it.
        extent: xmin, ymin, xmax, ymax in the city's CRS that the map opens with.
        language: of titles and labels.

    """
    root = Element("qgis", {"projectname": city.name, "version": "3.22.0"})
    SubElement(root, "title").text = city.name
    crs = SubElement(root, "projectCrs")
    _crs(crs, city.srid)
    system = SubElement(SubElement(root, "properties"), "SpatialRefSys")
    SubElement(system, "ProjectionsEnabled", {"type": "int"}).text = "1"  # else QGIS leaves the project without a CRS
    tree = SubElement(root, "layer-tree-group")
    drawn = [layer for layer in layers if layer.geometry]
    for data_class in catalog.classes:
        members = [layer for layer in drawn if layer.class_code.startswith(data_class.code)]
        if not members:
            continue
        title = f"{data_class.code} {data_class.title.to(language)}"
        group = SubElement(tree, "layer-tree-group", {"name": title, "expanded": "1", "checked": "Qt::Checked"})
        for layer in sorted(members, key=lambda row: -row.order):
            checked = "Qt::Checked" if layer.drawn_as.visible else "Qt::Unchecked"
            attributes = {"id": layer_id(layer), "name": layer.title.to(language), "checked": checked, "expanded": "0"}
            source = {"source": _source(layer, base_url), "providerKey": "OAPIF"}
            SubElement(group, "layer-tree-layer", attributes | source)
    _canvas(root, city, extent)
    projectlayers = SubElement(root, "projectlayers")
    for layer in drawn:
        projectlayers.append(_maplayer(layer, catalog, base_url, language))
    order = SubElement(root, "layerorder")
    for layer in sorted(drawn, key=lambda row: -row.order):
        SubElement(order, "layer", {"id": layer_id(layer)})
    return DOCTYPE + tostring(root, encoding="unicode")


def layer_id(layer: Layer) -> str:
    """Return the id in the project; QGIS replaces one of ten characters or fewer by its own."""
    return f"cim_layer_{layer.id}"


def _source(layer: Layer, base_url: str) -> str:
    options = "pagingEnabled='true' restrictToRequestBBOX='1' srsname='EPSG:4326'"
    return f" {options} typename='{layer.id}' url='{base_url}/ogc'"


def _maplayer(layer: Layer, catalog: Catalog, base_url: str, language: str) -> Element:
    geometry, wkb = WKB[layer.geometry or "Point"]
    element = Element("maplayer", {"type": "vector", "geometry": geometry, "wkbType": wkb})
    SubElement(element, "id").text = layer_id(layer)
    SubElement(element, "datasource").text = _source(layer, base_url)
    SubElement(element, "layername").text = layer.title.to(language)
    SubElement(element, "abstract").text = layer.description.to(language)
    SubElement(element, "provider", {"encoding": "UTF-8"}).text = "OAPIF"
    _crs(SubElement(element, "srs"), 4326)
    aliases = SubElement(element, "aliases")
    for index, field in enumerate(layer.fields):
        SubElement(aliases, "alias", {"field": field.name, "name": field.title.to(language), "index": str(index)})
    style_elements(element, layer, catalog, language)
    return element


def _crs(parent: Element, srid: int) -> None:
    system = SubElement(parent, "spatialrefsys")
    SubElement(system, "srsid").text = str(srid)  # QGIS looks at authid only where this is a positive number
    SubElement(system, "authid").text = f"EPSG:{srid}"
    SubElement(system, "srid").text = str(srid)


def _canvas(root: Element, city: City, extent: tuple[float, float, float, float] | None) -> None:
    canvas = SubElement(root, "mapcanvas", {"name": "theMapCanvas", "annotationsVisible": "1"})
    SubElement(canvas, "units").text = "meters"
    if extent:
        box = SubElement(canvas, "extent")
        for name, value in zip(("xmin", "ymin", "xmax", "ymax"), extent, strict=True):
            SubElement(box, name).text = f"{value:.3f}"
    SubElement(canvas, "rotation").text = "0"
    _crs(SubElement(canvas, "destinationsrs"), city.srid)
