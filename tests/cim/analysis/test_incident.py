"""The incident against Floyd-Warshall, shapely and pandas over the input files; the graph's rules on small networks."""

from itertools import pairwise
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from scipy.sparse.csgraph import floyd_warshall

from cim.analysis.emergency.incident import people_within
from cim.analysis.engine.result import Computed
from cim.analysis.engine.run import analyse
from cim.analysis.engine.unknown import Unknown
from cim.analysis.network.graph import Graph, open_to, reached, reached_area, road_graph, snap, travel
from cim.catalog.assumptions import read_assumptions
from cim.catalog.read import read_catalog
from cim.errors import BadRequest
from tests.conftest import MakeStore, Served

PLACE = (113.5815, 37.8622)


def incident(served: Served, **parameters: Any) -> Computed:
    with served.store.connect() as connection, connection.cursor() as cursor:
        return analyse(cursor, served.store, "incident", {"lon": PLACE[0], "lat": PLACE[1]} | parameters)


def network(lines: list[Any], **columns: list[Any]) -> Graph:
    return road_graph(gpd.GeoDataFrame(columns, geometry=lines, crs=4547), read_assumptions())


def times_by_hand(roads: gpd.GeoDataFrame, places: list[Any]) -> np.ndarray:
    """Seconds between places, all pairs: streets cut at every vertex and at every place, then Floyd-Warshall."""
    segments: list[tuple[tuple[float, float], tuple[float, float], float]] = []
    snapped = []
    for place in places:
        nearest = roads.distance(place).idxmin()
        line = roads.geometry[nearest]
        snapped.append((nearest, line.project(place)))
    for k, row in roads.iterrows():
        cuts = sorted({0.0, row.geometry.length, *(d for n, d in snapped if n == k)})
        ends = [row.geometry.interpolate(d) for d in cuts]
        for (a, b), (low, high) in zip(pairwise(ends), pairwise(cuts), strict=True):
            seconds = (high - low) / (row["限速"] / 3.6)
            segments.append(((round(a.x, 2), round(a.y, 2)), (round(b.x, 2), round(b.y, 2)), seconds))
    nodes = {p: n for n, p in enumerate(dict.fromkeys(p for a, b, _ in segments for p in (a, b)))}
    matrix = np.full((len(nodes), len(nodes)), np.inf)
    for a, b, seconds in segments:
        i, j = nodes[a], nodes[b]
        matrix[i, j] = matrix[j, i] = min(matrix[i, j], seconds)
    on = [roads.geometry[k].interpolate(d) for k, d in snapped]
    at = [nodes[(round(p.x, 2), round(p.y, 2))] for p in on]
    return np.asarray(floyd_warshall(matrix)[np.ix_(at, at)])


def test_travel_times_are_those_of_floyd_warshall_over_the_input_file(sample_city: Served) -> None:
    folder = sample_city.folder
    roads = gpd.read_file(folder / "road_segment.gpkg").to_crs(4547)
    site = gpd.GeoSeries([shapely.Point(PLACE)], crs=4326).to_crs(4547)[0]
    read = {n: gpd.read_file(folder / f"{n}.geojson").to_crs(4547) for n in ("fire_station", "hospital", "shelter")}
    result = incident(sample_city)
    for name, layer in read.items():
        seconds = times_by_hand(roads, [site, *layer.geometry])[0, 1:]
        found = result.figures[f"nearest_{name}"]
        assert found["id"] == layer["id"][int(np.argmin(seconds))]
        assert found["seconds"] == pytest.approx(seconds.min(), rel=1e-3, abs=0.05)
    ways = result.gdf.set_index("kind")
    for kind in ("fire_station_route", "hospital_route", "shelter_route"):
        assert ways.loc[kind, "length_m"] == pytest.approx(ways.loc[kind, "geometry"].length, rel=1e-6)
    assert result.check.passed


def test_the_drive_time_area_holds_what_is_near_enough_and_nothing_else(sample_city: Served) -> None:
    roads = gpd.read_file(sample_city.folder / "road_segment.gpkg").to_crs(4547)
    stations = gpd.read_file(sample_city.folder / "fire_station.geojson").to_crs(4547)
    area = incident(sample_city, minutes=1.0).gdf.set_index("kind").loc["reach", "geometry"]
    rng = np.random.default_rng(5)
    lines = roads.geometry.to_numpy()
    tried = {True: 0, False: 0}
    ends = [shapely.Point(line.coords[0]).distance(shapely.Point(line.coords[-1])) for line in lines]
    straight = np.flatnonzero(shapely.length(lines) < 1.15 * np.array(ends))  # a winding lane comes near to itself
    for k in rng.choice(straight, 240):
        place = lines[k].interpolate(rng.uniform(0.2, 0.8), normalized=True)
        seconds = times_by_hand(roads, [place, *stations.geometry])[0, 1:].min()
        if abs(seconds - 60) > 12:  # beyond the frontage that is drawn around a street's end
            inside = bool(area.contains(place))
            others = shapely.distance(lines, place)  # a near street may be reached where this one isn't
            if seconds < 60:
                assert inside
            elif (np.sort(others)[1:] > 45).all():
                assert not inside
                tried[False] += 1
            tried[True] += seconds < 60
    assert min(tried.values()) > 3


def test_what_is_around_is_what_geopandas_overlays(sample_city: Served) -> None:
    with sample_city.store.connect() as connection:
        rows = connection.execute(
            "SELECT id, parent_id, use, storeys, ST_AsBinary(geom) FROM twin.building WHERE upper_inf(recorded)"
        ).fetchall()
    frame = gpd.GeoDataFrame(
        [r[:4] for r in rows], columns=["id", "parent_id", "use", "storeys"],
        geometry=shapely.from_wkb([bytes(r[4]) for r in rows]), crs=4547,
    )  # fmt: skip
    frame["floor"] = frame.area * frame["storeys"]
    parents = set(frame["parent_id"].dropna())
    for parent in parents:
        frame.loc[frame["id"] == parent, "floor"] = frame.loc[frame["parent_id"] == parent, "floor"].sum()
    whole = frame[frame["parent_id"].isna()]
    site = gpd.GeoSeries([shapely.Point(PLACE)], crs=4326).to_crs(4547)
    circle = gpd.GeoDataFrame(geometry=site.buffer(300, quad_segs=32))
    near = gpd.overlay(whole, circle, how="intersection")
    result = incident(sample_city, radius_m=300)
    assert result.figures["buildings"] == len(near)
    assert result.figures["floor_area_m2"] == pytest.approx(near["floor"].sum())
    communities = gpd.read_file(sample_city.folder / "population.geojson").to_crs(4547)
    homes = whole[whole["use"] == "residential"].set_geometry(
        whole[whole["use"] == "residential"].representative_point()
    )
    placed = gpd.sjoin(homes, communities[["常住人口", "geometry"]], predicate="within")
    placed["people"] = placed["常住人口"] * placed["floor"] / placed.groupby("index_right")["floor"].transform("sum")
    assert result.figures["people"] == pytest.approx(placed.loc[placed.within(circle.geometry[0]), "people"].sum())
    assert placed["people"].sum() == pytest.approx(communities["常住人口"].sum())


def test_a_one_way_street_is_driven_one_way() -> None:
    corners = [(0, 0), (100, 0), (100, 100), (0, 100)]
    south, east, north, west = (shapely.LineString([a, b]) for a, b in pairwise([*corners, corners[0]]))
    one_way = network([south, east, north, west], oneway=["-1", None, None, None], speed=[36.0] * 4)
    a, b = shapely.Point(10, 0), shapely.Point(90, 0)
    there, back = (travel(one_way, np.array([p], object), np.array([q], object)) for p, q in ((a, b), (b, a)))
    assert back.seconds[back.destination_nodes[0]] == pytest.approx(8.0)
    assert there.seconds[there.destination_nodes[0]] == pytest.approx((10 + 300 + 10) / 10)
    line, length_m = there.line(int(there.destination_nodes[0]))
    assert length_m == pytest.approx(320)
    assert line is not None
    assert line.length == pytest.approx(320)


def test_a_side_street_joins_and_a_bridge_does_not() -> None:
    main = shapely.LineString([(0, 0), (200, 0)])
    side = shapely.LineString([(50, 0.01), (50, 80)])
    bridge = shapely.LineString([(120, -50), (120, 50)])
    graph = network([main, side, bridge], speed=[36.0] * 3)
    origin = np.array([shapely.Point(0, 0)], object)
    goals = np.array([shapely.Point(50, 80), shapely.Point(120, 50), shapely.Point(200, 0)], object)
    travelled = travel(graph, origin, goals)
    seconds = travelled.seconds[travelled.destination_nodes]
    assert seconds[0] == pytest.approx(13.0, abs=0.05)
    assert np.isinf(seconds[1])
    assert seconds[2] == pytest.approx(20.0)
    assert shapely.union_all([reached(travelled, 10.0)]).length == pytest.approx(100 + 50, abs=0.5)


def test_places_on_the_same_street_and_speeds_by_class() -> None:
    graph = network([shapely.LineString([(0, 0), (1000, 0)])], use=["arterial"])
    travelled = travel(graph, np.array([shapely.Point(700, 5)], object), np.array([shapely.Point(200, -5)], object))
    assert travelled.seconds[travelled.destination_nodes[0]] == pytest.approx(500 / (40 / 3.6))
    assert snap(graph, np.array([shapely.Point(500, 30)], object)).away_m[0] == 30


def test_a_community_without_dwellings_is_spread_over_its_land() -> None:
    communities = np.array([shapely.box(0, 0, 100, 100), shapely.box(100, 0, 200, 100)], object)
    dwellings = shapely.points([[150, 50], [190, 50]])
    found = people_within(
        shapely.box(50, 0, 160, 100), communities, np.array([100.0, 60.0]), dwellings, np.array([1.0, 2.0])
    )
    assert found.within == pytest.approx(50 + 20)
    assert found.without == pytest.approx(50 + 40)


def test_no_place_and_no_stations(sample_city: Served, make_store: MakeStore) -> None:
    with pytest.raises(BadRequest, match="lon and lat"):
        incident(sample_city, lon=None)
    with pytest.raises(BadRequest, match="GeoJSON"):
        incident(sample_city, geometry={"type": "Circle"})
    empty = make_store()
    with empty.connect() as connection, connection.cursor() as cursor:
        nothing = analyse(cursor, empty, "incident", {"lon": PLACE[0], "lat": PLACE[1]})
    for figure in ("people", "buildings", "reached_in_time", "nearest_fire_station", "nearest_hospital"):
        assert isinstance(nothing.figures[figure], Unknown)
    assert nothing.check.passed is None


def test_a_polygon_and_a_class(sample_city: Served) -> None:
    x, y = PLACE
    ring = [[x, y], [x + 0.002, y], [x + 0.002, y + 0.002], [x, y + 0.002], [x, y]]
    result = incident(
        sample_city,
        lon=None,
        lat=None,
        geometry={"type": "Polygon", "coordinates": [ring]},
        radius_m=1,
        **{"class": "fire"},
    )
    assert result.computed_from["parameters"]["class"] == "fire"
    assert result.gdf.geometry.iloc[0].area == pytest.approx(176 * 222, rel=0.03)
    assert result.figures["response"] == "fire"


@pytest.mark.parametrize(("lon", "lat"), [(0.0, 0.0), (-73.9, 40.7), (113.58, -37.86), (180.0, 90.0)])
def test_a_place_in_another_part_of_the_world_is_refused(sample_city: Served, lon: float, lat: float) -> None:
    with pytest.raises(BadRequest, match="outside"):
        incident(sample_city, lon=lon, lat=lat)


def test_a_place_far_from_any_road_isnt_reached_and_says_why(sample_city: Served) -> None:
    result = incident(sample_city, lon=113.2, lat=38.3)
    for figure in ("reached_in_time", "nearest_fire_station", "nearest_hospital", "nearest_shelter"):
        value = result.figures[figure]
        assert isinstance(value, Unknown)
        assert "道路" in value.reason.zh


def test_an_area_that_crosses_itself_counts_what_its_halves_count(sample_city: Served) -> None:
    x, y, d = *PLACE, 0.004
    bow = [[x - d, y - d], [x + d, y + d], [x + d, y - d], [x - d, y + d], [x - d, y - d]]
    halves = [
        [[x - d, y - d], [x, y], [x - d, y + d], [x - d, y - d]],
        [[x + d, y + d], [x, y], [x + d, y - d], [x + d, y + d]],
    ]
    asked = {"lon": None, "lat": None, "radius_m": 1.0}
    crossed = incident(sample_city, geometry={"type": "Polygon", "coordinates": [bow]}, **asked)
    whole = incident(sample_city, geometry={"type": "MultiPolygon", "coordinates": [[h] for h in halves]}, **asked)
    assert crossed.figures["buildings"] == whole.figures["buildings"] > 0
    assert any("自相交" in note.zh for note in crossed.notes)


def test_the_class_says_who_is_sent_and_what_is_counted(sample_city: Served) -> None:
    fire, medical = (incident(sample_city, **{"class": c}) for c in ("fire", "医疗"))
    assert fire.figures["response"] == "fire"
    assert medical.figures["response"] == "medical"
    assert "hydrants_within" in fire.figures
    assert "hydrants_within" not in medical.figures
    areas = [r.gdf.set_index("kind").loc["reach", "geometry"] for r in (fire, medical)]
    assert not areas[0].equals(areas[1])
    strange = incident(sample_city, **{"class": "aliens"})
    assert strange.figures["response"] == "other"
    assert any("aliens" in note.en for note in strange.notes)


def test_fire_engines_keep_to_roads() -> None:
    catalog = read_catalog()
    layer = catalog.with_role("roads")
    assert layer is not None
    field = layer.field("use")
    assert field is not None
    classes = catalog.codes(field)
    lines = [shapely.LineString([(0, 0), (100, 0)]), shapely.LineString([(100, 0), (100, 100)])]
    roads = gpd.GeoDataFrame({"use": ["local", "path"]}, geometry=lines, crs=4547)
    assert open_to(roads, classes, "drive")["use"].to_list() == ["local"]
    assert len(open_to(roads, classes, "walk")) == 2
    assert len(open_to(roads.drop(columns="use"), classes, "drive")) == 2


def test_the_reached_area_is_that_of_all_streets_widened_together() -> None:
    rng = np.random.default_rng(3)
    lines = shapely.MultiLineString([shapely.LineString(rng.uniform(0, 500, (4, 2))) for _ in range(60)])
    area = reached_area(lines, 40.0)
    together = shapely.buffer(lines, 40.0, quad_segs=6)
    assert shapely.symmetric_difference(area, together).area < 1e-3 * together.area
    assert reached_area(shapely.MultiLineString(), 40.0).is_empty
