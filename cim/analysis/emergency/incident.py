"""`incident`: what is around a place, who reaches it, and where the injured and the homeless go."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import model_validator
from shapely.errors import ShapelyError
from shapely.geometry import shape

from cim.analysis.engine import parameters
from cim.analysis.engine.parameters import titled
from cim.analysis.engine.registry import Inputs, Need, Progress
from cim.analysis.engine.result import Check, Output, Result
from cim.analysis.network.graph import Travel, reached, reached_area, road_graph, snap, travel
from cim.analysis.planning.floors import floors
from cim.catalog.model import Catalog, LayerRole, Text
from cim.errors import BadRequest, NotFound

Float = NDArray[np.float64]
DEGREES = 4326


class Parameters(parameters.Parameters):
    """Where it happened, and how far its effects reach."""

    lon: float | None = titled("经度", "Longitude", unit="deg", choices="place", default=None, ge=-180, le=180)
    lat: float | None = titled("纬度", "Latitude", unit="deg", choices="place", default=None, ge=-90, le=90)
    geometry: dict[str, Any] | None = titled("范围", "Geometry", default=None, description="GeoJSON, in degrees")
    radius_m: float = titled("半径", "Radius", unit="m", default=500.0, gt=0, le=50_000)
    minutes: float | None = titled(
        "可达时间", "Reach", unit="min", default=None, gt=0, le=180, description="none: the standard's"
    )
    event_class: str | None = titled(
        "事件类别", "Class", default=None, alias="class", description="kept with the result"
    )
    dwelling_use: str = titled("居住用途代码", "Code of dwellings", default="residential")

    @model_validator(mode="after")
    def _somewhere(self) -> "Parameters":
        if self.geometry is None and (self.lon is None or self.lat is None):
            raise ValueError("lon and lat, or a geometry")
        return self


OUTPUTS = (
    Output("id", Text(zh="标识", en="Id")),
    Output("kind", Text(zh="类别", en="Kind")),
    Output("name", Text(zh="名称", en="Name")),
    Output("seconds", Text(zh="行车时间", en="Travel time"), "s"),
    Output("length_m", Text(zh="路程", en="Way"), "m"),
    Output("buildings", Text(zh="建筑数", en="Buildings"), "1", Text(zh="半径内", en="within the radius")),
    Output("floor_area_m2", Text(zh="建筑面积", en="Floor area"), "m2", Text(zh="半径内", en="within the radius")),
    Output(
        "people", Text(zh="人口", en="People"), "1",
        Text(zh="社区人口按住宅建筑面积分摊", en="residents, by the floor area of their community's dwellings"),
    ),
    Output("nearest_fire_station", Text(zh="最近消防站", en="Nearest fire station")),
    Output("reached_in_time", Text(zh="及时到达", en="Reached in time")),
    Output("nearest_hospital", Text(zh="最近医院", en="Nearest hospital")),
    Output("nearest_shelter", Text(zh="最近避难场所", en="Nearest shelter")),
    Output("reach_minutes", Text(zh="可达时间", en="Reach"), "min"),
)  # fmt: skip

KINDS: Mapping[str, Text] = {
    "radius": Text(zh="影响范围", en="Affected area"),
    "reach": Text(zh="消防可达范围", en="Reached by fire stations"),
    "fire_station_route": Text(zh="消防站路线", en="Way of the fire engines"),
    "hospital_route": Text(zh="医院路线", en="Way to the hospital"),
    "shelter_route": Text(zh="避难场所路线", en="Way to the shelter"),
}
_LAYERS: Mapping[str, tuple[LayerRole, bool]] = {
    "buildings": ("buildings", False),
    "roads": ("roads", True),
    "fire_stations": ("fire_stations", True),
    "hospitals": ("hospitals", False),
    "shelters": ("shelters", False),
    "population": ("population", False),
}


def needs(asked: Parameters, catalog: Catalog) -> Mapping[str, Need]:  # noqa: ARG001 - one signature
    """Return the layers, found by their roles."""
    found = {}
    for name, (role, required) in _LAYERS.items():
        layer = catalog.with_role(role)
        if layer is None:
            raise NotFound(f"the catalog has no layer with the role {role}")
        found[name] = Need(layer, required=required)
    return found


def run(asked: Parameters, inputs: Inputs, progress: Progress) -> Result:
    """Return the affected area, the reached area and the ways as rows; counts and travel times as figures."""
    frames, assumptions = inputs.frames, inputs.assumptions
    site = _site(asked, frames["roads"].crs)
    affected = shapely.buffer(site, asked.radius_m, quad_segs=32)
    progress(0.1, "network")
    graph = road_graph(frames["roads"], assumptions)
    place = shapely.point_on_surface(site)
    around, check = _around(frames, affected, asked.dwelling_use, assumptions["storey_height"])
    progress(0.4, "fire stations")
    minutes = asked.minutes or assumptions["fire_reach_minutes"]
    stations = frames["fire_stations"]
    from_stations = travel(graph, stations.geometry.to_numpy(), np.array([place], object))
    area = reached_area(reached(from_stations, minutes * 60), assumptions["frontage"])
    rows: list[dict[str, Any]] = [
        {"id": "radius", "kind": "radius", "geometry": affected, **around},
        {"id": "reach", "kind": "reach", "seconds": minutes * 60, "geometry": area},
    ]
    figures: dict[str, Any] = {**around, "radius_m": asked.radius_m, "reach_minutes": minutes}
    figures["site_to_road_m"] = float(snap(graph, np.array([place], object)).away_m[0])
    arrival = _arrival(from_stations, stations)
    figures["nearest_fire_station"] = arrival
    figures["reached_in_time"] = bool(arrival and arrival["seconds"] <= minutes * 60)
    rows += _way(from_stations, int(from_stations.destination_nodes[0]), "fire_station_route", arrival)
    for n, (name, kind) in enumerate((("hospitals", "hospital_route"), ("shelters", "shelter_route"))):
        progress(0.6 + 0.2 * n, name)
        leaving = _leaving(graph, place, frames[name])
        found, node = _nearest(leaving, frames[name])
        figures[f"nearest_{name.removesuffix('s')}"] = found
        rows += _way(leaving, node, kind, found) if leaving else []
    columns = ["id", "kind", "name", "seconds", "length_m", *around]
    gdf = gpd.GeoDataFrame(rows, geometry="geometry", crs=frames["roads"].crs)
    return Result(gdf.reindex(columns=[*columns, "geometry"]), check, figures)


def _site(asked: Parameters, crs: Any) -> Any:
    try:
        degrees = shape(asked.geometry) if asked.geometry else shapely.Point(asked.lon, asked.lat)
    except (ValueError, KeyError, TypeError, AttributeError, ShapelyError) as fault:
        raise BadRequest(f"geometry isn't GeoJSON: {fault}") from fault
    placed = gpd.GeoSeries([degrees], crs=DEGREES).to_crs(crs).iloc[0]
    if placed.is_empty or not np.isfinite(placed.bounds).all():
        raise BadRequest("the place lies outside the city's CRS")
    return placed


def _around(
    frames: Mapping[str, gpd.GeoDataFrame], area: Any, dwelling_use: str, storey_m: float
) -> tuple[dict[str, float], Check]:
    """Count what meets an area. A building counts whole where its footprint meets it."""
    buildings = frames["buildings"]
    held = floors(buildings, storey_m)
    whole = buildings.iloc[held.rows]
    meets = shapely.intersects(whole.geometry.to_numpy(), area)
    dwelling = (whole["use"] == dwelling_use).to_numpy(bool) if "use" in whole else np.zeros(len(whole), bool)
    population = frames["population"]
    centres = shapely.point_on_surface(whole.geometry.to_numpy())
    found = people_within(
        area,
        population.geometry.to_numpy(),
        population["people"].to_numpy(dtype=np.float64, na_value=0.0) if len(population) else np.empty(0),
        centres[dwelling],
        held.area_m2[dwelling],
    )
    counted = {
        "buildings": float(meets.sum()),
        "floor_area_m2": float(held.area_m2[meets].sum()),
        "people": found.within,
    }
    check = Check(
        abs(found.within + found.without - found.residents) <= 1e-6 * max(1.0, found.residents),
        "people within + without = residents",
        {"within": found.within, "without": found.without, "residents": found.residents},
    )
    return counted, check


@dataclass(frozen=True)
class PeopleWithin:
    """People in an area, outside it, and all of them."""

    within: float
    without: float
    residents: float


def people_within(area: Any, communities: Any, people: Float, dwellings: Any, floor_m2: Float) -> PeopleWithin:
    """Spread residents over the floor area of their community's dwellings, and count those in an area.

    A community without dwellings has its residents spread evenly over its land (areal weighting).

    Args:
        area: a polygon, metres.
        communities: (c,) polygons.
        people: (c,) their residents.
        dwellings: (d,) a point in each dwelling; on a border, the first community has it.
        floor_m2: (d,) its floor area.

    """
    within = without = 0.0
    dwelling, community = shapely.STRtree(communities).query(dwellings, predicate="intersects")
    first = np.full(len(dwellings), len(communities), np.int64)
    np.minimum.at(first, dwelling, community)
    inside = shapely.intersects(area, dwellings) if len(dwellings) else np.empty(0, bool)
    for c, polygon in enumerate(communities):
        homes = first == c
        weight = float(floor_m2[homes].sum())
        if weight > 0:
            share = float(floor_m2[homes & inside].sum()) / weight
            rest = float(floor_m2[homes & ~inside].sum()) / weight
        else:
            share = shapely.area(shapely.intersection(polygon, area)) / max(polygon.area, 1e-9)
            rest = shapely.area(shapely.difference(polygon, area)) / max(polygon.area, 1e-9)
        within += float(people[c]) * share
        without += float(people[c]) * rest
    return PeopleWithin(within, without, float(people.sum()))


def _arrival(travelled: Travel, stations: gpd.GeoDataFrame) -> dict[str, Any] | None:
    node = int(travelled.destination_nodes[0])
    if not np.isfinite(travelled.seconds[node]):
        return None
    origin = int(travelled.way(node)[0])
    return _described(stations.iloc[int(np.flatnonzero(travelled.origin_nodes == origin)[0])], travelled, node)


def _leaving(graph: Any, place: Any, goals: gpd.GeoDataFrame) -> Travel | None:
    return travel(graph, np.array([place], object), goals.geometry.to_numpy()) if len(goals) else None


def _nearest(travelled: Travel | None, goals: gpd.GeoDataFrame) -> tuple[dict[str, Any] | None, int]:
    if travelled is None:
        return None, -1
    seconds = travelled.seconds[travelled.destination_nodes]
    best = int(np.argmin(seconds))
    if not np.isfinite(seconds[best]):
        return None, -1
    node = int(travelled.destination_nodes[best])
    return _described(goals.iloc[best], travelled, node), node


def _described(row: Any, travelled: Travel, node: int) -> dict[str, Any]:
    _, length_m = travelled.line(node)
    return {
        "id": row["id"],
        "name": row.get("name", row["id"]),
        "seconds": float(travelled.seconds[node]),
        "length_m": length_m,
    }


def _way(travelled: Travel, node: int, kind: str, found: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    line, _ = travelled.line(node) if found else (None, 0.0)
    return [{**found, "id": f"{kind}:{found['id']}", "kind": kind, "geometry": line}] if found and line else []
