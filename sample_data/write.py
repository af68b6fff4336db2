"""Files as others deliver them: CityJSONSeq, a Shapefile in GBK, GeoPackage, GeoJSON, GeoTIFF."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import rasterio
import shapely
from rasterio.transform import from_origin
from shapely.affinity import translate

from sample_data.bridges import Bridge
from sample_data.roofs import Solid, solid
from sample_data.terrain import EAST, NORTH, Relief
from sample_data.town import House, base_m

CRS = "EPSG:4547"
SURVEYED = "2024-05-01"
Features = tuple[Sequence[Any], dict[str, Sequence[Any]]]


def write_terrain(path: Path, relief: Relief, half_m: tuple[float, float], step_m: float) -> None:
    """Write the relief over a box about the town's middle: half its width and height, and the cells' size."""
    width, height = (int(2 * half / step_m) for half in half_m)
    x = -half_m[0] + step_m * (np.arange(width) + 0.5)
    y = half_m[1] - step_m * (np.arange(height) + 0.5)
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype="float32", crs=CRS, compress="deflate",
        predictor=3, tiled=True, transform=from_origin(EAST - half_m[0], NORTH + half_m[1], step_m, step_m),
    ) as file:  # fmt: skip
        file.write(relief.height(*np.meshgrid(x, y)).astype(np.float32), 1)


def write_buildings(path: Path, named: Iterable[tuple[str, House]], relief: Relief) -> None:
    """Write buildings in LoD2 with semantic surfaces; a podium with its tower is a building of parts."""
    _write_city_model(path, (_building(name, house, base_m(house, relief)) for name, house in named))


def write_bridges(path: Path, bridges: Iterable[Bridge]) -> None:
    """Write bridges, each of parts."""
    _write_city_model(path, (_bridge(f"BR{k:02}", bridge) for k, bridge in enumerate(bridges, 1)))


def _write_city_model(path: Path, features: Iterable[dict[str, Any]]) -> None:
    head = {
        "type": "CityJSON",
        "version": "2.0",
        "transform": {"scale": [0.001] * 3, "translate": [EAST, NORTH, 0.0]},
        "metadata": {
            "referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/4547",
            "referenceDate": SURVEYED,
            "title": "阳泉样例 Yangquan sample",
        },
        "CityObjects": {},
        "vertices": [],
    }
    with path.open("w", encoding="utf-8") as file:
        for document in (head, *features):
            file.write(json.dumps(document, ensure_ascii=False) + "\n")


def _building(identifier: str, house: House, foot_m: float) -> dict[str, Any]:
    parts, below = [], 0.0
    for k, part in enumerate(house.parts or (house,)):
        foot = foot_m + below
        parts.append((f"{identifier}-{k}", _attributes(part), solid(part.footprint, foot, part.eaves_m, part.roof)))
        below += part.eaves_m
    attributes = _attributes(house)
    if not house.parts:
        return _feature(identifier, "Building", attributes, [(identifier, attributes, parts[0][2])])
    return _feature(identifier, "Building", attributes | {"measuredHeight": round(below, 2)}, parts)


def _bridge(identifier: str, bridge: Bridge) -> dict[str, Any]:
    name = f"{bridge.street.name}桥"
    parts = [(f"{identifier}-{k}", {"桥名": f"{name} {kind}"}, body) for k, (kind, body) in enumerate(bridge.parts)]
    return _feature(identifier, "Bridge", {"桥名": name, "限载": 30.0, "建成年份": 1987}, parts)


def _feature(
    identifier: str, kind: str, attributes: dict[str, Any], parts: Sequence[tuple[str, dict[str, Any], Solid]]
) -> dict[str, Any]:
    vertices: list[list[int]] = []
    objects: dict[str, Any] = {identifier: {"type": kind, "attributes": attributes}}
    for name, part_attributes, body in parts:
        if name != identifier:
            objects[identifier].setdefault("children", []).append(name)
            objects[name] = {"type": f"{kind}Part", "attributes": part_attributes, "parents": [identifier]}
        objects[name]["geometry"] = [_geometry(body, len(vertices))]
        vertices += [[round(x * 1000), round(y * 1000), round(z * 1000)] for x, y, z in body.vertices]
    return {"type": "CityJSONFeature", "id": identifier, "CityObjects": objects, "vertices": vertices}


def _geometry(body: Solid, shift: int) -> dict[str, Any]:
    kinds = list(dict.fromkeys(body.classes))
    return {
        "type": "Solid",
        "lod": "2.2",
        "boundaries": [[[[i + shift for i in ring] for ring in face] for face in body.faces]],
        "semantics": {"surfaces": [{"type": k} for k in kinds], "values": [[kinds.index(c) for c in body.classes]]},
    }


def _attributes(house: House) -> dict[str, Any]:
    named = {"name": house.name} if house.name else {}
    return named | {
        "function": house.use,
        "measuredHeight": round(house.eaves_m, 2),
        "storeysAboveGround": house.storeys,
        "yearOfConstruction": house.year,
        "屋顶": house.roof,
    }


def write_footprints(path: Path, named: Sequence[tuple[str, House]]) -> None:
    """Write footprints as survey offices deliver them: a Shapefile in GBK without a .cpg."""
    titles = {"residential": "住宅", "industrial": "工业", "commercial": "商业", "office": "办公", "public": "公建"}
    frame = _frame(
        [h.footprint for _, h in named],
        {
            "编号": [name for name, _ in named],
            "楼名": [h.name or f"坡上{k}号" for k, (_, h) in enumerate(named, 1)],
            "用途": [titles[h.use] for _, h in named],
            "楼层": [h.storeys for _, h in named],
            "楼高": [round(h.eaves_m, 1) for _, h in named],
            "建成年份": [h.year for _, h in named],
        },
    )
    pyogrio.write_dataframe(frame, path, driver="ESRI Shapefile", encoding="GBK")
    path.with_suffix(".cpg").unlink(missing_ok=True)
    table = bytearray(path.with_suffix(".dbf").read_bytes())
    table[1:4], table[29] = bytes((124, 5, 1)), 0  # the survey's date rather than today's, and no language byte
    path.with_suffix(".dbf").write_bytes(table)


def write_features(path: Path, features: Features) -> None:
    """Write features as GeoJSON or GeoPackage, by the file's suffix."""
    frame = _frame(*features)
    path.unlink(missing_ok=True)
    if path.suffix == ".geojson":
        pyogrio.write_dataframe(frame.to_crs(4326), path, driver="GeoJSON", COORDINATE_PRECISION=8)
        return
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": f"{SURVEYED}T00:00:00.000Z"})
    pyogrio.write_dataframe(frame, path, driver="GPKG", layer=path.stem)
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def _frame(shapes: Sequence[Any], columns: dict[str, Sequence[Any]]) -> gpd.GeoDataFrame:
    placed = np.array([translate(shape, EAST, NORTH) for shape in shapes], object)
    return gpd.GeoDataFrame(columns, geometry=shapely.set_precision(placed, 0.001), crs=CRS)
