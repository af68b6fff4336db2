"""`incident`: what is around a place, who reaches it, and where the injured and the homeless go."""

from collections.abc import Mapping, Sequence
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
from cim.analysis.engine.declaration import Declaration, Legend, Output, Progress
from cim.analysis.engine.inputs import Inputs, MetricBox, numbers, with_role
from cim.analysis.engine.parameters import titled
from cim.analysis.engine.result import Check, Result, all_of, rows_of
from cim.analysis.engine.unknown import Unknown, absent, out_of_reach, unconnected
from cim.analysis.network.graph import Graph, Travel, open_to, reached, reached_area, road_graph, snap, travel
from cim.analysis.planning.floors import Floors, layer_floors
from cim.catalog.assumptions import STOREY_HEIGHT
from cim.catalog.model import Layer
from cim.catalog.row import Text
from cim.city import City
from cim.errors import BadRequest
from cim.messages import say

Float = NDArray[np.float64]
DEGREES = 4326
OUTSIDE_M = 50_000.0  # from the city's extent; data so far outside isn't of this city either
ROAD = Text(zh="最近道路", en="the nearest road")


@dataclass(frozen=True)
class Response:
    """What a class of incidents asks for: who drives there, and what is counted around it."""

    title: Text
    responder: str
    around: tuple[str, ...]
    aliases: tuple[str, ...] = ()


# who is sent, and what endangers or is endangered; after the kinds of the national plan for emergencies
# (自然灾害、事故灾难、公共卫生、社会安全), with fire and hazardous substances apart
RESPONSES: Mapping[str, Response] = {
    "fire": Response(Text(zh="火灾", en="Fire"), "fire_stations", ("hydrants", "hazards", "schools"), ("火灾", "火警")),
    "hazmat": Response(
        Text(zh="危化品", en="Hazardous substances"), "fire_stations", ("hazards", "schools", "hospitals"),
        ("危化品", "泄漏", "gas", "燃气", "explosion", "爆炸"),
    ),
    "medical": Response(Text(zh="医疗", en="Medical"), "hospitals", ("schools",), ("医疗", "急救", "traffic", "交通")),
    "flood": Response(
        Text(zh="洪涝", en="Flood"), "fire_stations", ("schools", "hospitals", "hazards"), ("洪涝", "内涝")
    ),
    "other": Response(Text(zh="其他", en="Other"), "fire_stations", ()),
}  # fmt: skip


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
        "事件类别", "Class", default=None, alias="class", choices="listed",
        description="says who is sent, and what is counted around it",
        also=tuple((name, response.title, None) for name, response in RESPONSES.items()),
    )  # fmt: skip
    dwelling_use: str = titled("居住用途代码", "Code of dwellings", default="residential")

    @model_validator(mode="after")
    def _somewhere(self) -> "Parameters":
        if self.geometry is None and (self.lon is None or self.lat is None):
            raise ValueError("lon and lat, or a geometry")
        return self


KINDS: Mapping[str, Text] = {
    "radius": Text(zh="影响范围", en="Affected area"),
    "reach": Text(zh="救援可达范围", en="Reached by responders"),
    "responder_route": Text(zh="救援路线", en="Way of the responders"),
    "fire_station_route": Text(zh="消防站路线", en="Way of the fire engines"),
    "hospital_route": Text(zh="医院路线", en="Way to the hospital"),
    "shelter_route": Text(zh="避难场所路线", en="Way to the shelter"),
}
_WAY = (
    Output("id", Text(zh="标识", en="Id"), shown=False),
    Output("name", Text(zh="名称", en="Name")),
    Output("seconds", Text(zh="行车时间", en="Travel time"), "s"),
    Output("length_m", Text(zh="路程", en="Way"), "m"),
)
_AROUND = (
    Output("buildings", Text(zh="建筑数", en="Buildings"), "1", Text(zh="范围内", en="within the area")),
    Output("floor_area_m2", Text(zh="建筑面积", en="Floor area"), "m2", Text(zh="范围内", en="within the area")),
    Output(
        "people", Text(zh="人口", en="People"), "1",
        Text(zh="社区人口按住宅建筑面积分摊", en="residents, by the floor area of their community's dwellings"),
        headline=True,
    ),
)  # fmt: skip
COLUMNS = (
    Output("kind", Text(zh="类别", en="Kind"), values=KINDS),
    *_WAY,
    *_AROUND,
)
_COUNTED: Mapping[str, Text] = {
    "hydrants": Text(zh="消火栓", en="Hydrants"),
    "hazards": Text(zh="危险源", en="Hazardous sites"),
    "schools": Text(zh="学校", en="Schools"),
    "hospitals": Text(zh="医院", en="Hospitals"),
}
_GOALS: tuple[str, ...] = ("fire_stations", "hospitals", "shelters")
FIGURES = (
    *_AROUND,
    Output("reached_in_time", Text(zh="及时到达", en="Reached in time"), headline=True),
    Output("nearest_fire_station", Text(zh="最近消防站", en="Nearest fire station"), parts=_WAY),
    Output("nearest_hospital", Text(zh="最近医院", en="Nearest hospital"), parts=_WAY),
    Output("nearest_shelter", Text(zh="最近避难场所", en="Nearest shelter"), parts=_WAY),
    Output("reach_minutes", Text(zh="可达时间", en="Reach"), "min"),
    Output("radius_m", Text(zh="半径", en="Radius"), "m"),
    Output("site_to_road_m", Text(zh="距道路", en="From the road"), "m"),
    Output("response", Text(zh="响应", en="Response"), values={k: r.title for k, r in RESPONSES.items()}),
    *(
        Output(f"{role}_within", title, "1", Text(zh="范围内", en="within the area"))
        for role, title in _COUNTED.items()
    ),
)


def run(asked: Parameters, inputs: Inputs, progress: Progress) -> Result:
    """Return the affected area, the reached area and the ways as rows; counts and travel times as figures."""
    crs = f"EPSG:{inputs.city.srid}"
    site, notes = _site(asked, inputs.city)
    response, named = response_to(asked.event_class)
    if asked.event_class and not named:
        notes.append(
            Text(
                zh=f"未知类别“{asked.event_class}”，按一般事件计算（已知：{'、'.join(RESPONSES)}）",
                en=f"the class {asked.event_class} isn't known: as other ({', '.join(RESPONSES)})",
            )
        )
    affected = shapely.buffer(site, asked.radius_m, quad_segs=32)
    around, checks = _around(inputs, affected, asked.dwelling_use)
    progress(0.4, "network")
    place = shapely.point_on_surface(site)
    ways = _ways(asked, inputs, place, RESPONSES[response].responder, progress)
    rows = [{"id": "radius", "kind": "radius", "geometry": affected, **around}, *ways.rows]
    counted = {f"{role}_within": _count_within(inputs, role, affected) for role in RESPONSES[response].around}
    figures = {**around, "radius_m": asked.radius_m, "response": response, **ways.figures, **counted}
    columns = [column.name for column in COLUMNS]
    return Result(rows_of(rows, columns, crs), all_of([*checks, *ways.checks]), figures, notes=tuple(notes))


def response_to(event_class: str | None) -> tuple[str, bool]:
    """Return which response a class asks for, and whether the class is one we know."""
    spelled = (event_class or "").strip().casefold()
    for name, response in RESPONSES.items():
        if spelled in (name, *response.aliases, response.title.zh, response.title.en.casefold()):
            return name, True
    return ("fire", True) if event_class is None else ("other", False)


def _site(asked: Parameters, city: City) -> tuple[Any, list[Text]]:
    """Return where it happened, in the city's CRS, and what was done to make it usable."""
    try:
        degrees = shape(asked.geometry) if asked.geometry else shapely.Point(asked.lon, asked.lat)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, ShapelyError) as fault:
        raise BadRequest(say("geometry-not-geojson", reason=fault)) from fault
    if degrees.is_empty:
        raise BadRequest(say("geometry-empty"))
    notes = []
    if not degrees.is_valid:
        notes.append(Text(zh="给定范围自相交，已修复", en="the given area crosses itself and was made valid"))
        degrees = shapely.make_valid(degrees)
    placed = gpd.GeoSeries([degrees], crs=DEGREES).to_crs(city.srid).iloc[0]
    if placed.is_empty or not np.isfinite(placed.bounds).all():
        raise BadRequest(say("place-lies-outside-city-crs"))
    if city.extent is not None:
        extent = gpd.GeoSeries([shapely.box(*city.extent)], crs=DEGREES).to_crs(city.srid).iloc[0]
        if (away_m := float(shapely.distance(placed, extent))) > OUTSIDE_M:
            raise BadRequest(say("place-lies-km-outside-city", away_m=away_m / 1000, extent=list(city.extent)))
    return placed, notes


def _around(inputs: Inputs, area: Any, dwelling_use: str) -> tuple[dict[str, Any], list[Check]]:
    """Count what meets an area. A building counts whole where its footprint meets it."""
    layer, people_layer = with_role(inputs, "buildings"), with_role(inputs, "population")
    buildings, floors = _buildings(inputs, layer, MetricBox.around(area))
    footprints = buildings.geometry.to_numpy()[floors.rows]
    meets = shapely.intersects(footprints, area)
    nothing = buildings.empty and inputs.is_empty(layer)
    figures: dict[str, Any] = {
        "buildings": absent(layer) if nothing else int(meets.sum()),
        "floor_area_m2": absent(layer) if nothing else float(floors.area_m2[meets].sum()),
    }
    communities = inputs.frame(people_layer, box=MetricBox.around(area), columns=("people",))
    figures["people"], check = _people(inputs, area, communities, people_layer, layer, dwelling_use)
    bound = Check(
        bool(meets.sum() <= shapely.intersects(shapely.envelope(footprints), area).sum()) if len(footprints) else None,
        Text(zh="建筑数不超过外包框与范围相交者", en="no more buildings than have a box that meets the area"),
        {"buildings_in_boxes": float(shapely.intersects(shapely.envelope(footprints), area).sum())},
    )
    return figures, [check, bound]


def _buildings(inputs: Inputs, layer: Layer, box: MetricBox) -> tuple[gpd.GeoDataFrame, Floors]:
    """Return the buildings that meet a box with all their parts, which lie within them, and their floor areas."""
    columns = ("use", "storeys", "height")
    frame = inputs.frame(layer, box=box, columns=columns)
    if len(frame):
        xmin, ymin, xmax, ymax = shapely.total_bounds(frame.geometry.to_numpy())
        frame = inputs.frame(layer, box=MetricBox(xmin, ymin, xmax, ymax), columns=columns)
    return frame, layer_floors(frame, layer, inputs.assumptions[STOREY_HEIGHT])


def _people(
    inputs: Inputs, area: Any, communities: gpd.GeoDataFrame, people_layer: Layer, layer: Layer, dwelling_use: str
) -> tuple[Any, Check]:
    """Return how many live in an area, or why that can't be told."""
    statement = Text(
        zh="范围内人口不超过相交社区的人口", en="no more people than live in communities that meet the area"
    )
    residents, _ = numbers(communities, people_layer, "people")
    counted = ~np.isnan(residents)
    if not counted.any():
        return absent(people_layer), Check(None, statement)
    xmin, ymin, xmax, ymax = shapely.total_bounds(communities.geometry.to_numpy())
    buildings, floors = _buildings(inputs, layer, MetricBox(xmin, ymin, xmax, ymax))
    whole = buildings.iloc[floors.rows]
    dwelling = (whole["use"] == dwelling_use).to_numpy(bool) if "use" in whole else np.zeros(len(whole), bool)
    centres = shapely.point_on_surface(whole.geometry.to_numpy()[dwelling])
    shapes = communities.geometry.to_numpy()
    people = people_within(area, shapes[counted], residents[counted], centres, floors.area_m2[dwelling])
    bound = float(residents[counted & shapely.intersects(shapes, area)].sum())
    passed = -1e-6 <= people.within <= bound * (1 + 1e-9) + 1e-6
    lost = abs(people.within + people.without - people.residents)
    values = {"within": people.within, "without": people.without, "residents": people.residents, "bound": bound}
    return people.within, Check(passed and lost <= 1e-6 * max(1.0, people.residents), statement, values)


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


def _count_within(inputs: Inputs, role: str, area: Any) -> int | Unknown:
    """Count what of a layer meets an area; of a layer that is empty everywhere, unknown."""
    layer = inputs.catalog.with_role(role)
    if layer is None:
        return Unknown(Text(zh=f"目录中没有角色为 {role} 的图层", en=f"the catalog has no layer with the role {role}"))
    near = inputs.frame(layer, box=MetricBox.around(area), columns=())
    if near.empty and inputs.is_empty(layer):
        return absent(layer)
    return int(shapely.intersects(near.geometry.to_numpy(), area).sum())


@dataclass(frozen=True)
class Ways:
    """Who reaches a place and where one gets from there."""

    rows: Sequence[Mapping[str, Any]]
    figures: Mapping[str, Any]
    checks: Sequence[Check]


def _ways(asked: Parameters, inputs: Inputs, place: Any, responder: str, progress: Progress) -> Ways:
    """Return the reached area and the fastest ways; figures that can't be told say why."""
    assumptions = inputs.assumptions
    minutes = asked.minutes or assumptions["fire_reach_minutes"]
    figures: dict[str, Any] = {"reach_minutes": minutes}
    road_layer = with_role(inputs, "roads")
    roads = inputs.frame(road_layer, columns=("use", "speed", "oneway"))
    field = road_layer.field("use")
    roads = open_to(roads, inputs.catalog.codes(field) if field else None, "drive")
    graph = road_graph(roads, assumptions) if len(roads) else None
    unreachable: Unknown | None = absent(road_layer)
    if graph is not None and len(graph.lines):
        away_m = float(snap(graph, np.array([place], object)).away_m[0])
        figures["site_to_road_m"] = away_m
        limit_m = assumptions["access_distance"]
        unreachable = out_of_reach(ROAD, away_m, limit_m) if away_m > limit_m else None
    rows: list[dict[str, Any]] = []
    checks: list[Check] = []
    in_time: Any = unreachable
    for n, role in enumerate(_GOALS):
        name = role.removesuffix("s")
        progress(0.5 + 0.15 * n, name)
        layer = with_role(inputs, role)
        facilities = inputs.frame(layer, columns=("name",))
        arriving = role in (responder, "fire_stations")
        way: Any = unreachable or absent(layer)
        if graph is not None and unreachable is None and len(facilities):
            way, line, travelled = _nearest(graph, place, facilities, layer, arriving=arriving)
            if line is not None:
                rows.append({**way, "id": f"{name}_route:{way['id']}", "kind": f"{name}_route", "geometry": line})
                straight_m = float(shapely.distance(place, facilities.geometry[facilities["id"] == way["id"]].iloc[0]))
                checks.append(_no_shorter_than_straight(name, way, straight_m, graph, facilities, place))
            if role == responder:
                in_time = way if isinstance(way, Unknown) else bool(way["seconds"] <= minutes * 60)
                from_there = travelled if arriving else travel(graph, facilities.geometry.to_numpy())
                area = reached_area(reached(from_there, minutes * 60), assumptions["frontage"])
                rows.insert(0, {"id": "reach", "kind": "reach", "seconds": minutes * 60, "geometry": area})
        elif role == responder:
            in_time = way
        figures[f"nearest_{name}"] = way
    figures["reached_in_time"] = in_time
    return Ways(rows, figures, checks)


def _nearest(
    graph: Graph, place: Any, facilities: gpd.GeoDataFrame, layer: Layer, *, arriving: bool
) -> tuple[Any, Any, Travel]:
    """Return the facility with the fastest way to the place (arriving) or from it, the way, and the travel."""
    site, points = np.array([place], object), shapely.point_on_surface(facilities.geometry.to_numpy())
    travelled = travel(graph, points, site) if arriving else travel(graph, site, points)
    seconds = travelled.seconds[travelled.destination_nodes]
    best = int(np.argmin(seconds))
    if not np.isfinite(seconds[best]):
        return unconnected(layer.title), None, travelled
    node = int(travelled.destination_nodes[best])
    if arriving:
        origin = int(travelled.way(node)[0])
        best = int(np.flatnonzero(travelled.origin_nodes == origin)[0])
    line, length_m = travelled.line(node)
    row = facilities.iloc[best]
    name = row["name"] if "name" in facilities and isinstance(row["name"], str) else row["id"]
    way = {"id": row["id"], "name": name, "seconds": float(travelled.seconds[node]), "length_m": length_m}
    return way, line, travelled


def _no_shorter_than_straight(
    name: str, way: Mapping[str, Any], straight_m: float, graph: Graph, facilities: gpd.GeoDataFrame, place: Any
) -> Check:
    """Compare a way with the straight line between the roads it leaves and meets, and with the fastest road."""
    ends = np.array([place, facilities.geometry[facilities["id"] == way["id"]].iloc[0]], object)
    off_road_m = float(snap(graph, shapely.point_on_surface(ends)).away_m.sum())
    fastest_ms = float((graph.length_m / np.maximum(graph.seconds, 1e-9)).max())
    passed = way["length_m"] >= straight_m - off_road_m - 1.0 and way["length_m"] <= way["seconds"] * fastest_ms + 1.0
    return Check(
        bool(passed),
        Text(
            zh="路程不短于直线、不快于路网最高速度",
            en="no way beats a straight line or the fastest road",
        ),
        {f"{name}_length_m": way["length_m"], f"{name}_straight_m": straight_m},
    )


ANALYSIS = Declaration(
    parameters=Parameters,
    columns=COLUMNS,
    figures=FIGURES,
    legend=Legend("kind", "values"),
    example={"lon": 113.5815, "lat": 37.8622, "radius_m": 300},
    run=run,
)
