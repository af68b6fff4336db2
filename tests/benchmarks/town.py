"""Generated buildings for measuring: gabled houses as CityJSONSeq, and the same as footprints with a height."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import shapely

from sample_data.roofs import solid
from sample_data.terrain import EAST, NORTH

SPACING_M = 24.0


def footprints(count: int) -> list[shapely.Polygon]:
    """Return houses on a square, each a little turned and of its own size."""
    rng = np.random.default_rng(3)
    side = int(np.ceil(np.sqrt(count)))
    k = np.arange(count)
    x, y = (k % side - side / 2) * SPACING_M, (k // side - side / 2) * SPACING_M
    w, d, turn = rng.uniform(9, 16, count), rng.uniform(7, 11, count), rng.uniform(0, 3, count)
    shapes = []
    for i in range(count):
        c, s = np.cos(turn[i]), np.sin(turn[i])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [w[i] / 2, d[i] / 2]
        shapes.append(shapely.Polygon(corners @ np.array([[c, s], [-s, c]]) + [x[i], y[i]]))
    return shapes


def write_sequence(path: Path, count: int) -> Path:
    """Write LoD2 houses as CityJSONSeq."""
    head = {
        "type": "CityJSON", "version": "2.0", "transform": {"scale": [0.001] * 3, "translate": [EAST, NORTH, 0]},
        "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/4547"}, "CityObjects": {},
        "vertices": [],
    }  # fmt: skip
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head) + "\n")
        for i, shape in enumerate(footprints(count)):
            body = solid(shape, 700.0, 3.0 * (1 + i % 7), "gable")
            kinds = list(dict.fromkeys(body.classes))
            geometry = {
                "type": "Solid", "lod": "2.2", "boundaries": [body.faces],
                "semantics": {"surfaces": [{"type": c} for c in kinds], "values": [[*map(kinds.index, body.classes)]]},
            }  # fmt: skip
            attributes = {"name": f"{i}号楼", "function": "residential", "storeysAboveGround": 1 + i % 7, "year": 1990}
            city_object = {"type": "Building", "attributes": attributes, "geometry": [geometry]}
            vertices = [[round(1000 * c) for c in v] for v in body.vertices]
            feature = {
                "type": "CityJSONFeature",
                "id": f"B{i}",
                "CityObjects": {f"B{i}": city_object},
                "vertices": vertices,
            }
            file.write(json.dumps(feature, ensure_ascii=False) + "\n")
    return path


def write_footprints(path: Path, count: int) -> Path:
    """Write footprints with a height and a base as GeoPackage."""
    shapes = shapely.transform(np.array(footprints(count), object), lambda p: p + np.array([EAST, NORTH]))
    k = np.arange(count)
    columns = {"id": [f"F{i}" for i in k], "name": [f"{i}号楼" for i in k], "height": 3.0 * (1 + k % 7), "base": 700.0}
    pyogrio.write_dataframe(gpd.GeoDataFrame(columns, geometry=shapes, crs=4547), path, driver="GPKG", layer="building")
    return path
