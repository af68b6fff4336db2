"""`cim sample`: a deterministic piece of a valley town at the real place, written as ordinary input files."""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import rasterio
import shapely
from rasterio.transform import from_origin
from shapely.affinity import translate

from sample_data import life, town
from sample_data.roofs import Solid, solid
from sample_data.terrain import EAST, NORTH, RIVER_HALF_WIDTH_M, Relief

CRS = "EPSG:4547"
BUILDINGS = {"small": 640}
SURVEYED = "2024-05-01"
COUNTY, STREET = "140302", "001"

DATASET = f"""# What the files of this folder don't say themselves.
dataset = "阳泉样例 Yangquan sample"
date = "{SURVEYED}"
vertical_datum = "city" # 1985 heights
licence = "CC0-1.0"

[files."building_outer.shp"]
layer = "building"
columns = {{ "楼层" = "storeys", "楼高" = "height_m", "楼名" = "name", "用途" = "use", "编号" = "id" }}
"""


def make_city(folder: Path, scale: str = "small", seed: int = 1) -> list[Path]:
    """Write the sample city into a folder; the same seed gives the same city.

    Returns:
        The files written.

    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    relief = Relief(seed)
    houses = town.houses(rng, BUILDINGS[scale])
    streets = town.streets()
    _write_terrain(folder / "terrain_region.tif", relief, half_m=6000.0, step_m=30.0)
    _write_terrain(folder / "terrain_town.tif", relief, half_m=1200.0, step_m=5.0)
    core = [h for h in houses if h.core]
    _write_core(folder / "building_core.city.jsonl", core, relief)
    _write_outer(folder / "building_outer.shp", [h for h in houses if not h.core])
    _write_features(folder / "road_segment.gpkg", *_roads(streets))
    _write_features(folder / "water.geojson", *_water())
    _write_features(folder / "land_cover.geojson", *_land_cover(relief))
    _write_features(folder / "district.geojson", *_districts())
    _write_features(folder / "grid_cell.gpkg", *_grid_cells())
    _write_features(folder / "fire_station.geojson", *_fire_stations())
    _write_features(folder / "camera.geojson", *_cameras(streets, rng))
    lots = _parking(houses, streets, rng)
    _write_features(folder / "parking_lot.geojson", *lots)
    life.write_parking_counts(folder / "parking_observation.csv", lots[1]["id"], lots[1]["泊位数"], rng)
    _write_features(folder / "population.geojson", *life.communities(houses, _grid_cells()[0]))
    _write_features(folder / "hospital.geojson", *life.hospitals())
    _write_features(folder / "shelter.geojson", *life.shelters())
    _write_features(folder / "sensor.geojson", *life.sensors())
    life.write_sensor_values(folder / "sensor_observation.csv", rng)
    (folder / "dataset.toml").write_text(DATASET, "utf-8")
    return sorted(folder.iterdir())


def _write_terrain(path: Path, relief: Relief, half_m: float, step_m: float) -> None:
    count = int(2 * half_m / step_m)
    centre = -half_m + step_m * (np.arange(count) + 0.5)
    x, y = np.meshgrid(centre, centre[::-1])
    with rasterio.open(
        path, "w", driver="GTiff", height=count, width=count, count=1, dtype="float32", crs=CRS, compress="deflate",
        predictor=3, tiled=True, transform=from_origin(EAST - half_m, NORTH + half_m, step_m, step_m),
    ) as file:  # fmt: skip
        file.write(relief.height(x, y).astype(np.float32), 1)


def _base_m(house: town.House, relief: Relief) -> float:
    """Return the lowest ground under a footprint, every metre along its outline."""
    xy = shapely.get_coordinates(shapely.segmentize(house.footprint, 1.0))
    return float(np.floor(relief.height(xy[:, 0], xy[:, 1]).min() * 100) / 100)


def _write_core(path: Path, houses: Iterable[town.House], relief: Relief) -> None:
    """Write CityJSONSeq 2.0, LoD2 with semantic surfaces; a podium with its tower is a building of two parts."""
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
    lines = [json.dumps(head, ensure_ascii=False)]
    for number, house in enumerate(houses, 1):
        lines.append(json.dumps(_feature(f"YQ{number:05}", house, _base_m(house, relief)), ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _feature(identifier: str, house: town.House, base_m: float) -> dict[str, Any]:
    vertices: list[list[int]] = []
    objects: dict[str, Any] = {identifier: {"type": "Building", "attributes": _attributes(house)}}
    if house.parts:
        objects[identifier]["children"] = [f"{identifier}-{k}" for k in range(len(house.parts))]
    for k, part in enumerate(house.parts or (house,)):
        name = f"{identifier}-{k}" if house.parts else identifier
        foot = base_m if k == 0 else base_m + house.parts[0].eaves_m
        body = solid(part.footprint, foot, part.eaves_m - (foot - base_m), part.roof)
        made = objects.setdefault(
            name, {"type": "BuildingPart", "attributes": _attributes(part), "parents": [identifier]}
        )
        made["geometry"] = [_geometry(body, len(vertices))]
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


def _attributes(house: town.House) -> dict[str, Any]:
    height = round(house.eaves_m, 2)
    named = {"name": house.name} if house.name else {}
    return named | {
        "function": house.use,
        "measuredHeight": height,
        "storeysAboveGround": house.storeys,
        "屋顶": house.roof,
    }


def _write_outer(path: Path, houses: Sequence[town.House]) -> None:
    """Write footprints as survey offices deliver them: a Shapefile in GBK without a .cpg."""
    titles = {"residential": "住宅", "industrial": "工业", "commercial": "商业", "office": "办公", "public": "公建"}
    frame = _frame(
        [h.footprint for h in houses],
        {
            "编号": [f"YQW{k:05}" for k in range(1, len(houses) + 1)],
            "楼名": [h.name or f"坡上{k}号" for k, h in enumerate(houses, 1)],
            "用途": [titles[h.use] for h in houses],
            "楼层": [h.storeys for h in houses],
            "楼高": [round(h.eaves_m, 1) for h in houses],
        },
    )
    pyogrio.write_dataframe(frame, path, driver="ESRI Shapefile", encoding="GBK")
    path.with_suffix(".cpg").unlink(missing_ok=True)
    table = bytearray(path.with_suffix(".dbf").read_bytes())
    table[1:4], table[29] = bytes((124, 5, 1)), 0  # the survey's date rather than today's, and no language byte
    path.with_suffix(".dbf").write_bytes(table)


def _frame(shapes: Sequence[Any], columns: dict[str, Sequence[Any]]) -> gpd.GeoDataFrame:
    placed = [translate(shape, EAST, NORTH) for shape in shapes]
    return gpd.GeoDataFrame(columns, geometry=shapely.set_precision(np.array(placed, object), 0.001), crs=CRS)


def _write_features(path: Path, shapes: Sequence[Any], columns: dict[str, Sequence[Any]]) -> None:
    frame = _frame(shapes, columns)
    path.unlink(missing_ok=True)
    if path.suffix == ".geojson":
        pyogrio.write_dataframe(frame.to_crs(4326), path, driver="GeoJSON", COORDINATE_PRECISION=8)
        return
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": f"{SURVEYED}T00:00:00.000Z"})
    pyogrio.write_dataframe(frame, path, driver="GPKG", layer=path.stem)
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


Features = tuple[Sequence[Any], dict[str, Sequence[Any]]]


def _roads(streets: Sequence[town.Street]) -> Features:
    return [s.line for s in streets], {
        "id": [f"R{k:04}" for k in range(1, len(streets) + 1)],
        "路名": [s.name for s in streets],
        "道路等级": [s.road_class for s in streets],
        "width_m": [s.width_m for s in streets],
    }


def _water() -> Features:
    line = shapely.LineString([town.place(s, 0) for s in np.linspace(-3900, 3900, 800)])
    pond = (
        shapely.Point(town.place(330, 130))
        .buffer(22, 12)
        .intersection(shapely.Point(town.place(338, 126)).buffer(24, 12))
    )
    return [line.buffer(RIVER_HALF_WIDTH_M - 4, cap_style="flat"), pond], {
        "id": ["W1", "W2"],
        "name": ["桃河", "西河公园人工湖"],
        "water_type": ["river", "pond"],
    }


def _land_cover(relief: Relief) -> Features:
    """Built-up land along the river, fields at the foot of the hills, patches of shrub, a park; forest is the rest."""
    axis = shapely.LineString([town.place(s, 0) for s in np.linspace(-3900, 3900, 400)])
    whole = shapely.box(-6000, -6000, 6000, 6000)
    water = shapely.union_all(list(_water()[0]))
    built = _wavy(shapely.LineString([town.place(s, 0) for s in np.linspace(-900, 900, 90)]), 430, 50, relief, 3)
    park = shapely.Point(town.place(330, 128)).buffer(46, 16)
    fields = _wavy(axis, 620, 190, relief, 5)
    clearings = [shapely.Point(x, y).buffer(size, 10) for x, y, size in _scattered(relief, 60, 5600)]
    shrub = _wavy_union(clearings, relief)
    mine = _wavy(shapely.Point(-1500, 1250).buffer(160).exterior, 90, 35, relief, 9)
    layers = [
        ("water", water),
        ("grass", park),
        ("bare", mine),
        ("built_up", built),
        ("cropland", fields),
        ("shrub", shrub),
    ]
    shapes, covers = [], []
    left: Any = whole
    for cover, shape in [*layers, ("forest", whole)]:
        part = shape.intersection(left)
        left = left.difference(shape)
        polygons = [p for p in shapely.get_parts(part) if p.geom_type == "Polygon" and p.area > 50]
        if polygons:
            shapes.append(shapely.MultiPolygon(polygons))
            covers.append(cover)
    return shapes, {"id": [f"LC-{c}" for c in covers], "cover": covers}


def _wavy(line: Any, width_m: float, wave_m: float, relief: Relief, channel: int) -> Any:
    """Return the land along a line, its edge wandering in and out."""
    along = shapely.segmentize(line, 60.0)
    xy = shapely.get_coordinates(along)
    radius = width_m + wave_m * relief.noise(xy[:, 0] / 260.0, xy[:, 1] / 260.0, channel)
    circles = shapely.buffer(shapely.points(xy), radius, quad_segs=8)
    return shapely.simplify(shapely.union_all(circles), 3.0)


def _wavy_union(shapes: Sequence[Any], relief: Relief) -> Any:
    return shapely.union_all([_wavy(s.exterior, 40, 30, relief, 7).union(s) for s in shapes])


def _scattered(relief: Relief, count: int, half_m: float) -> list[tuple[float, float, float]]:
    k = np.arange(count, dtype=np.float64)
    x, y = relief.noise(k * 7.31, k * 0.77, 61) * half_m, relief.noise(k * 3.17, k * 5.93, 67) * half_m
    size = 70.0 + 60.0 * relief.noise(k * 1.7, k * 2.3, 71)
    return list(zip(x.tolist(), y.tolist(), size.tolist(), strict=True))


def _districts() -> Features:
    axis = [town.place(s, 0) for s in np.linspace(-3900, 3900, 200)]
    axis = [(-6000.0, axis[0][1]), *axis, (6000.0, axis[-1][1])]
    north = shapely.Polygon([*axis, (6000, 6000), (-6000, 6000)])
    south = shapely.Polygon([*axis[::-1], (-6000, -6000), (6000, -6000)])
    inner = shapely.box(-2600, -2200, 2600, 2200)
    return [
        north.intersection(inner),
        south.intersection(inner),
        shapely.box(-6000, -6000, 6000, 6000).difference(inner),
    ], {
        "id": ["140302", "140303", "140311"],
        "name": ["城区", "矿区", "郊区"],
        "division_code": ["140302", "140303", "140311"],
        "level": ["county"] * 3,
    }


def _grid_cells() -> Features:
    """Cells between the streets: 6 digits county, 3 street, 3 community, 3 sequence, west to east, north to south."""
    across = [-600.0, -450.0, -318.0, -190.0, -62.0, 62.0, 190.0, 318.0, 450.0, 600.0]
    along = np.linspace(-750, 750, 9)
    along[[0, -1]] = -820, 820
    shapes, codes, names = [], [], []
    for community, (west, east) in enumerate(((0, 4), (4, 8)), 1):
        sequence = 0
        for low, high in list(pairwise(across))[::-1]:
            for a, b in zip(along[west:east], along[west + 1 : east + 1], strict=True):
                sequence += 1
                steps = np.linspace(a, b, 9)
                ring = [town.place(s, low) for s in steps] + [town.place(s, high) for s in steps[::-1]]
                shapes.append(shapely.Polygon(ring))
                codes.append(f"{COUNTY}{STREET}{community:03}{sequence:03}")
                names.append(f"{'德胜' if community == 1 else '新华'}社区第{sequence}网格")
    return shapes, {"id": codes, "网格编码": codes, "name": names, "面积": [round(s.area, 1) for s in shapes]}


def _fire_stations() -> Features:
    places = [town.place(540, 84), town.place(-600, -90)]
    return [shapely.Point(p) for p in places], {
        "id": ["FS1", "FS2"],
        "name": ["桃河消防救援站", "矿区特勤消防站"],
        "station_level": ["一级", "特勤"],
        "engines": [6, 9],
    }


def _cameras(streets: Sequence[town.Street], rng: np.random.Generator) -> Features:
    shapes: list[Any] = []
    names = ("id", "name", "device_id", "mount_height_m", "azimuth_deg", "fov")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for k, street in enumerate(streets, 1):
        point = street.line.interpolate(0.02 if street.line.length > 60 else 0.5, normalized=True)
        shapes.append(translate(point, street.width_m / 2, 1.0))
        columns["id"].append(f"CAM{k:04}")
        columns["name"].append(f"{street.name}{k}号机位")
        columns["device_id"].append(f"{COUNTY}00001320{k:06}")
        columns["mount_height_m"].append(6.5 if street.road_class != "local" else 4.5)
        columns["azimuth_deg"].append(round(float(rng.uniform(0, 360)), 1))
        columns["fov"].append(62.0)
    return shapes, dict(columns)


def _parking(houses: Sequence[town.House], streets: Sequence[town.Street], rng: np.random.Generator) -> Features:
    """Lots beside the streets where there is room."""
    blocked = shapely.union_all(
        [*(h.footprint.buffer(2) for h in houses), *(s.line.buffer(s.width_m / 2 + 1) for s in streets)]
    )
    river = _water()[0][0].buffer(6)
    shapes: list[Any] = []
    for _ in range(900):
        s, t = (
            float(rng.uniform(-700, 700)),
            float(rng.choice([86, 150, 214, 286, -86, -150, -214, -286]) + rng.uniform(-9, 9)),
        )
        turned = town._at(shapely.box(-16, -8, 16, 8), town.place(s, t), town.bearing(s))  # noqa: SLF001 - the same plan
        free = not blocked.intersects(turned) and not river.intersects(turned)
        if free and not any(turned.buffer(30).intersects(other) for other in shapes):
            shapes.append(turned)
        if len(shapes) == 14:
            break
    count = len(shapes)
    return shapes, {
        "id": [f"P{k:02}" for k in range(1, count + 1)],
        "name": [f"{k}号公共停车场" for k in range(1, count + 1)],
        "泊位数": [int(shape.area // 26) for shape in shapes],
    }
