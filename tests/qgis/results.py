"""What QGIS sees of the results of analyses, as JSON; run by the distribution's Python with the jobs' addresses."""

import json
import os
import sys

from osgeo import gdal
from qgis.core import QgsApplication, QgsFeatureRequest, QgsRasterLayer, QgsRectangle, QgsVectorLayer

ROWS, TWINS, RASTER, BOX = sys.argv[1:5]


def collection(url, page_size):
    source = f" pagingEnabled='true' restrictToRequestBBOX='1' typename='results' url='{url}' pageSize='{page_size}'"
    layer = QgsVectorLayer(source, "results", "OAPIF")
    assert layer.isValid(), f"{url}: {layer.error().summary()}"
    return layer


def main():
    layer, twins = collection(ROWS, 3), collection(TWINS, 7)
    every = list(layer.getFeatures())
    box = QgsRectangle(*map(float, BOX.split(",")))
    found = {
        "fields": {f.name(): f.typeName() for f in layer.fields()},
        "rows": {f["id"]: [f.geometry().asWkt(9), f.attributeMap()] for f in every},
        "count": len(every),
        "in box": sorted(f["id"] for f in layer.getFeatures(QgsFeatureRequest().setFilterRect(box))),
        "twins": sum(1 for _ in twins.getFeatures()),
    }
    raster = QgsRasterLayer(f"/vsicurl/{RASTER}", "raster")
    assert raster.isValid(), raster.error().summary()
    found["raster crs"] = raster.crs().authid()
    found["raster size"] = [raster.width(), raster.height()]
    dataset = gdal.Open(f"/vsicurl/{RASTER}")
    found["raster statistics"] = dataset.GetRasterBand(1).ComputeStatistics(False)
    sys.stdout.write("FOUND" + json.dumps(found, ensure_ascii=False, default=str))


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
