"""CityJSON out: every object of every layer is valid CityJSON 2.0, whatever class it came with, and keeps that class.

The rules are those of https://www.cityjson.org/specs/2.0.1/: section 2 (City Objects), 3 (geometry), 5 (semantics).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shapely

from cim.catalog.model import Layer
from cim.catalog.read import read_catalog
from cim.read.layer_summary import layer_counts
from cim.store.connection import Store
from cim.write.cityjson_types import standard_lod
from cim.write.export import Extract, export
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.conftest import Served
from tests.factory import EAST, NORTH, cityjson

Json = dict[str, Any]
# section 2.1 and 2.2: what may stand alone, and what has a parent of the type its name begins with
# fmt: off
ALONE = [
    "Bridge", "Building", "CityFurniture", "GenericCityObject", "LandUse", "OtherConstruction",
    "PlantCover", "Railway", "Road", "SolitaryVegetationObject", "TINRelief", "TransportSquare",
    "Tunnel", "WaterBody", "Waterway",
]
# fmt: on
PARTS = {
    "Bridge": "Part Installation ConstructiveElement Room Furniture",
    "Building": "Part Installation ConstructiveElement Furniture Storey Room Unit",
    "Tunnel": "Part Installation ConstructiveElement HollowSpace Furniture",
}
CHILDREN = {f"{whole}{part}": whole for whole, parts in PARTS.items() for part in parts.split()}
NO_SOLIDS = {"LandUse", "Road", "Railway", "Waterway", "TransportSquare"}
# fmt: off
SURFACES = [
    "RoofSurface", "GroundSurface", "WallSurface", "ClosureSurface",
    "OuterCeilingSurface", "OuterFloorSurface", "Window",
    "Door", "InteriorWallSurface", "CeilingSurface", "FloorSurface",
    "WaterSurface", "WaterGroundSurface", "WaterClosureSurface",
    "TrafficArea", "AuxiliaryTrafficArea", "TransportationHole", "TransportationMarking",
]
# fmt: on
DEPTH = {"MultiPoint": 1, "MultiLineString": 2, "MultiSurface": 3, "CompositeSurface": 3, "Solid": 4}


def leaves(boundaries: Any, depth: int) -> Iterator[int]:
    assert isinstance(boundaries, list)
    assert boundaries
    for part in boundaries:
        if depth == 1:
            assert isinstance(part, int)
            yield part
        else:
            yield from leaves(part, depth - 1)


def check_geometry(kind: str, geometry: Json, vertices: list[list[int]]) -> None:
    assert geometry.keys() <= {"type", "lod", "boundaries", "semantics"}
    assert standard_lod(geometry["lod"]) == geometry["lod"]
    assert kind not in NO_SOLIDS or geometry["type"] != "Solid"
    assert kind != "TINRelief" or geometry["type"] == "CompositeSurface"
    numbers = set(leaves(geometry["boundaries"], DEPTH[geometry["type"]]))
    assert numbers <= set(range(len(vertices)))
    if "semantics" in geometry:
        semantics = geometry["semantics"]
        assert {surface["type"] for surface in semantics["surfaces"]} <= set(SURFACES)
        faces, values = geometry["boundaries"], semantics["values"]
        for shell, classes in zip(faces, values, strict=True) if geometry["type"] == "Solid" else [(faces, values)]:
            assert len(shell) == len(classes)
            assert all(value is None or value < len(semantics["surfaces"]) for value in classes)


def check_feature(feature: Json) -> None:
    """Hold a feature against the rules of the standard."""
    assert feature.keys() == {"type", "id", "CityObjects", "vertices"}
    assert feature["type"] == "CityJSONFeature"
    objects = feature["CityObjects"]
    assert feature["id"] in objects
    assert all(len(vertex) == 3 and all(isinstance(c, int) for c in vertex) for vertex in feature["vertices"])
    for identifier, of in objects.items():
        assert of.keys() <= {"type", "attributes", "geometry", "parents", "children"}
        assert of["type"] in {*ALONE, *CHILDREN}, "an extension's type needs the extension"
        if of["type"] in CHILDREN:
            assert [objects[parent]["type"] for parent in of["parents"]] == [CHILDREN[of["type"]]]
        assert all(identifier in objects[parent]["children"] for parent in of.get("parents", []))
        assert all(objects[child]["parents"] == [identifier] for child in of.get("children", []))
        for geometry in of.get("geometry", []):
            check_geometry(of["type"], geometry, feature["vertices"])


def written(store: Store, layer: Layer, path: Path, where: str | None = None) -> list[Json]:
    with store.connect() as connection, connection.cursor() as cursor:
        export(cursor, store, Extract(layer, where=where), path)
    with path.open(encoding="utf-8") as file:
        header, *features = [json.loads(line, parse_constant=pytest.fail) for line in file]
    assert (header["type"], header["version"], header["vertices"]) == ("CityJSON", "2.0", [])
    for feature in features:
        check_feature(feature)
    return features


LAYERS = [layer.id for layer in read_catalog().of_kind("feature")]


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_of_the_sample_is_valid(sample_city: Served, tmp_path: Path, name: str) -> None:
    store = sample_city.store
    layer = store.catalog.layers[name]
    features = written(store, layer, tmp_path / "x.city.jsonl")
    with store.connect() as connection, connection.cursor() as cursor:
        assert len(features) >= layer_counts(cursor, [layer])[name]


CLASSES = [
    *ALONE,
    *CHILDREN,
    "+House",
    "+NoiseBuilding",
    "building=yes",
    "highway=*",
    "yes",
    "IfcWall",
    "JMD",
    "dxf:line",
]


def test_any_class_is_written_as_one_of_the_standard_and_stays_an_attribute(store: Store, tmp_path: Path) -> None:
    rest = store.catalog.with_role("rest")
    assert rest is not None
    document = cityjson({f"o{n}": {"box": (EAST + 30 * n, NORTH, 700, 8, 8, 8)} for n in range(len(CLASSES))})
    (tmp_path / "in.city.json").write_text(json.dumps(document), "utf-8")
    report = ingest(store, [tmp_path / "in.city.json"], Declared(layer=rest.id, vertical_datum="city"))
    assert report.files[0].loaded == len(CLASSES)
    with store.connect() as connection:
        for n, name in enumerate(CLASSES):
            update = f'UPDATE twin."{rest.id}" SET object_class = %s WHERE id = %s'
            connection.execute(update.encode(), [name, f"o{n}"])
    objects = {k: v for f in written(store, rest, tmp_path / "o.city.jsonl") for k, v in f["CityObjects"].items()}
    for n, name in enumerate(CLASSES):
        made = objects[f"o{n}"]
        assert made["attributes"]["object_class"] == name
        assert made["type"] == (name if name in ALONE else "GenericCityObject")
        assert made["geometry"]


def test_a_part_without_its_whole_stands_alone(sample_city: Served, tmp_path: Path) -> None:
    layer = sample_city.store.catalog.layers["building"]
    features = written(sample_city.store, layer, tmp_path / "p.city.jsonl", "parent_id IS NOT NULL")
    objects = [of for feature in features for of in feature["CityObjects"].values()]
    assert objects
    assert {of["type"] for of in objects} == {"Building"}
    assert all(of["attributes"]["parent_id"] for of in objects)


def test_points_and_lines_with_heights_have_them(sample_city: Served, tmp_path: Path) -> None:
    store, layer = sample_city.store, sample_city.store.catalog.layers["tree"]
    features = written(store, layer, tmp_path / "t.city.jsonl")
    with store.connect() as connection:
        rows = connection.execute(
            "SELECT id, ST_AsBinary(geom) FROM twin.tree WHERE upper_inf(recorded) AND ST_NDims(geom) = 3"
        ).fetchall()
    points = {identifier: shapely.get_coordinates(shapely.from_wkb(wkb), include_z=True)[0] for identifier, wkb in rows}
    for feature in features:
        (made,) = feature["CityObjects"].values()
        if feature["id"] in points:
            assert made["geometry"][0]["type"] == "MultiPoint"
            assert [c / 1e4 for c in feature["vertices"][0]] == pytest.approx(points[feature["id"]], abs=1e-4)


@pytest.mark.parametrize(
    ("lod", "standard"), [("2", "2"), ("2.2", "2.2"), ("4", "3"), ("3.7", "3"), ("-1", "0"), ("fine", "0")]
)
def test_levels_of_detail_are_those_of_the_standard(lod: str, standard: str) -> None:
    assert standard_lod(lod) == standard
