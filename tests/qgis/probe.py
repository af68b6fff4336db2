"""What a GIS officer's QGIS sees of a server, as JSON; run by the distribution's Python with URL, project and QML."""

import json
import os
import sys

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeatureRequest,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsRectangle,
    QgsVectorLayer,
    QgsVectorTileLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

URL, PROJECT = sys.argv[1:3]
PLACE = QgsRectangle(113.572, 37.856, 113.588, 37.866)


def features(name):
    source = f" pagingEnabled='true' restrictToRequestBBOX='1' typename='{name}' url='{URL}/ogc' pageSize='100'"
    layer = QgsVectorLayer(source, name, "OAPIF")
    assert layer.isValid(), f"{name}: {layer.error().summary()}"
    return layer


def drawn(layers, crs="EPSG:3857", box=None):
    """Render layers over a box; return the share of pixels that aren't background."""
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setOutputSize(QSize(400, 300))
    settings.setBackgroundColor(QColor(255, 0, 255))
    target = QgsCoordinateReferenceSystem(crs)
    settings.setDestinationCrs(target)
    to = QgsCoordinateTransform(QgsCoordinateReferenceSystem("EPSG:4326"), target, QgsProject.instance())
    settings.setExtent(to.transformBoundingBox(box or PLACE))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    image = job.renderedImage()
    background = QColor(255, 0, 255).rgb()
    seen = [image.pixel(x, y) for x in range(0, 400, 2) for y in range(0, 300, 2)]
    return sum(p != background for p in seen) / len(seen), len(set(seen))


def near(layer):
    """Return where a layer's features lie, with some land around."""
    box = QgsRectangle(layer.extent())
    box.grow(max(box.width(), box.height(), 0.001) * 0.15)
    return box


def main():
    found = {}
    building = features("building")
    found["fields"] = {f.name(): f.typeName() for f in building.fields()}
    every = list(building.getFeatures())
    found["count"] = len(every)
    found["distinct"] = len({f["id"] for f in every})
    found["named"] = [f["name"] for f in every if f["id"] == "YQ00001"]
    found["box"] = sorted(
        f["id"]
        for f in building.getFeatures(QgsFeatureRequest().setFilterRect(QgsRectangle(113.578, 37.859, 113.581, 37.862)))
    )
    found["where"] = sorted(
        f["id"] for f in building.getFeatures(QgsFeatureRequest().setFilterExpression("\"use\" = 'public'"))
    )
    tiles = QgsVectorTileLayer(f"type=xyz&url={URL}/tiles/building/{{z}}/{{x}}/{{y}}.mvt&zmin=0&zmax=16", "tiles")
    found["tiles valid"] = tiles.isValid()
    found["tiles drawn"] = drawn([tiles])[0]
    project = QgsProject.instance()
    found["project read"] = project.read(PROJECT)
    found["crs"] = project.crs().authid()
    groups = project.layerTreeRoot().findGroups()
    found["groups"] = {g.name(): [t.layerId().removeprefix("cim_layer_") for t in g.findLayers()] for g in groups}
    layers = {name.removeprefix("cim_layer_"): layer for name, layer in project.mapLayers().items()}
    found["invalid"] = [name for name, layer in layers.items() if not layer.isValid()]
    found["counts"] = {name: sum(1 for _ in layer.getFeatures()) for name, layer in layers.items()}
    found["titles"] = {name: layer.name() for name, layer in layers.items()}
    found["renderers"] = {name: layer.renderer().type() for name, layer in layers.items()}
    found["categories"] = {
        name: {c.value(): c.symbol().symbolLayers()[-1].color().name() for c in layer.renderer().categories()}
        for name, layer in layers.items()
        if layer.renderer().type() == "categorizedSymbol"
    }
    found["labels"] = {
        name: layer.labeling().settings().fieldName for name, layer in layers.items() if layer.labeling()
    }
    found["drawn"] = {name: drawn([layer], "EPSG:4547", near(layer)) for name, layer in layers.items()}
    qml = {}
    for name, layer in layers.items():
        _, fine = layer.loadNamedStyle(sys.argv[3].replace("LAYER", name))
        qml[name] = fine and layer.renderer().type() == found["renderers"][name]
    found["qml"] = qml
    sys.stdout.write("FOUND" + json.dumps(found, ensure_ascii=False))


application = QgsApplication([], False)
application.initQgis()
try:
    main()
except BaseException:
    import traceback

    traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)
sys.stdout.flush()
os._exit(0)  # leaving QGIS tidily crashes now and then
