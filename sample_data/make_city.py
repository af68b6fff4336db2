"""`cim sample`: a deterministic valley town at the real place, written as ordinary input files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cim.errors import BadRequest
from sample_data import bridges, green, life, survey, things, town, write
from sample_data.plan import SCALES, Plan
from sample_data.terrain import Relief

AROUND_M = 11_000.0  # of relief beyond the town's ends: no view ends in a plain

DATASET = f"""# What the files of this folder don't say themselves.
dataset = "阳泉样例 Yangquan sample"
date = "{write.SURVEYED}"
vertical_datum = "city" # 1985 heights
timezone = "Asia/Shanghai"
licence = "CC0-1.0"

[files."building_outer.shp"]
layer = "building"
columns = {{ "楼层" = "storeys", "楼高" = "height_m", "楼名" = "name", "用途" = "use", "编号" = "id" }}

[files."survey_drawing.dxf"]
crs = "EPSG:4547"

[files."control_point.csv"]
crs = "EPSG:4547"
columns = {{ "点号" = "id" }}
"""


def make_city(folder: Path, scale: str = "small", seed: int = 1) -> list[Path]:
    """Write the sample city into a folder; the same seed gives the same city.

    Returns:
        The files written.

    Raises:
        BadRequest: no such scale.

    """
    if scale not in SCALES:
        raise BadRequest(f"no scale {scale!r}: {', '.join(SCALES)}")
    folder.mkdir(parents=True, exist_ok=True)
    rng, relief = np.random.default_rng(seed), Relief(seed)
    plan = Plan(SCALES[scale], relief, rng)
    houses = town.houses(plan, rng)
    half = plan.extent.half_length_m
    region = half + AROUND_M

    write.write_terrain(folder / "terrain_region.tif", relief, (region, region), 30.0)
    write.write_terrain(folder / "terrain_town.tif", relief, (half + 450.0, plan.extent.slope_m + 750.0), 5.0)
    core = [(f"YQ{k:05}", h) for k, h in enumerate((h for h in houses if h.core), 1)]
    outer = [(f"YQW{k:05}", h) for k, h in enumerate((h for h in houses if not h.core), 1)]
    write.write_buildings(folder / "building_core.city.jsonl", core, relief)
    write.write_footprints(folder / "building_outer.shp", outer)
    write.write_bridges(folder / "bridge.city.jsonl", bridges.bridges(plan, relief))

    cover, cells = green.land_cover(plan, relief, region), things.grid_cells(plan)
    lots = things.parking_lots(plan, houses, rng)
    high = next((name, h) for name, h in core if h.use == "residential" and not h.parts and h.storeys > 8)
    made: dict[str, Callable[[], write.Features]] = {
        "road_segment.gpkg": lambda: things.roads(plan),
        "water.geojson": green.water,
        "land_cover.geojson": lambda: cover,
        "forest.gpkg": lambda: green.forests(cover, rng, half + 2600.0),
        "watchtower.geojson": lambda: green.watchtowers(relief, half + 2200.0),
        "tree.gpkg": lambda: green.trees(plan, houses, relief, rng),
        "district.geojson": lambda: things.districts(region),
        "grid_cell.gpkg": lambda: cells,
        "population.geojson": lambda: life.communities(houses, plan),
        "address.gpkg": lambda: things.addresses(plan, houses, cells),
        "parcel.gpkg": lambda: things.parcels(plan, houses),
        "height_limit.geojson": lambda: things.height_limits(plan),
        "construction_project.geojson": lambda: things.projects(plan),
        "fire_station.geojson": things.fire_stations,
        "hospital.geojson": things.hospitals,
        "shelter.geojson": things.shelters,
        "school.geojson": things.schools,
        "hazardous_site.geojson": things.hazardous_sites,
        "service_point.geojson": things.service_points,
        "hydrant.gpkg": lambda: things.hydrants(plan),
        "camera.geojson": lambda: things.cameras(plan, rng),
        "component.gpkg": lambda: things.components(plan, rng),
        "pipeline.gpkg": lambda: things.pipelines(plan),
        "survey_line.gpkg": lambda: things.survey_lines(plan, relief),
        "building_unit.gpkg": lambda: things.building_units(high[1], high[0], town.base_m(high[1], relief)),
        "parking_lot.geojson": lambda: lots,
        "parking_space.gpkg": lambda: things.parking_spaces(lots, rng),
        "sensor.geojson": life.sensors,
        "event.gpkg": lambda: life.events(plan, rng),
        "patrol_track.geojson": lambda: life.patrols(plan, rng),
    }
    features = {name: make() for name, make in made.items()}
    for name, layer_features in features.items():
        write.write_features(folder / name, layer_features)
    life.write_parking_counts(folder / "parking_observation.csv", lots[1]["id"], lots[1]["泊位数"], rng)
    life.write_sensor_values(folder / "sensor_observation.csv", rng)
    life.write_control_points(folder / "control_point.csv", relief, rng)
    box = survey.quarter(houses)
    survey.write_cloud(
        folder / "point_cloud.laz", houses, features["tree.gpkg"], relief, np.random.default_rng(seed), box
    )
    survey.write_drawing(folder / "survey_drawing.dxf", relief, box)
    (folder / "dataset.toml").write_text(DATASET, "utf-8")
    return sorted(folder.iterdir())
