"""Faults of bodies, each made by one change to a sound one, and found in that body alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from cim.geometry.body_batch import Bodies, concatenate, from_sizes
from cim.geometry.canonical import canonical
from cim.geometry.faults import FAULTS, find_faults
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.factory import write_terrain

CUBE = [[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0], [0, 0, 10], [10, 0, 10], [10, 10, 10], [0, 10, 10]]
FACES = [[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]


def body(points: Sequence[Sequence[float]] = CUBE, faces: Sequence[Sequence[int]] = FACES) -> Bodies:
    flat = [i for face in faces for i in face]
    sizes = [len(face) for face in faces]
    return from_sizes(np.array(points, float), flat, sizes, [1] * len(faces), [len(faces)], [0] * len(faces))


def moved(corner: int, by: Sequence[float]) -> Bodies:
    points = [list(p) for p in CUBE]
    points[corner] = [a + b for a, b in zip(points[corner], by, strict=True)]
    return body(points)


def turned() -> Bodies:
    return body(CUBE, [FACES[0][::-1], *FACES[1:]])


def with_fin() -> Bodies:
    """A cube with a sheet standing on an edge of its roof."""
    return body([*CUBE, [0, 0, 20], [10, 0, 20]], [*FACES, [4, 5, 9, 8]])


def crossed() -> Bodies:
    """A roof drawn as an hourglass; its walls follow it."""
    return body(CUBE, [FACES[0], [4, 6, 5, 7], *FACES[2:]])


def with_line() -> Bodies:
    """A face that goes out and back along one edge, over a point in its middle."""
    return body([*CUBE, [5, 0, 0]], [*FACES, [0, 8, 1]])


def star() -> Bodies:
    """A roof as a pentagram: it turns the same way at every corner, twice around."""
    angles = np.radians(90 + 144 * np.arange(5))
    points = np.c_[10 * np.cos(angles), 10 * np.sin(angles), np.zeros(5)]
    return body(points.tolist(), [[0, 1, 2, 3, 4]])


def joined(*parts: Bodies) -> Bodies:
    """The faces of several bodies as one."""
    whole = concatenate(parts)
    return from_sizes(
        whole.vertices, whole.indices, np.diff(whole.index_start), [1] * len(whole.face_class),
        [len(whole.face_class)], whole.face_class,
    )  # fmt: skip


def shifted(by: Sequence[float], scale: float = 1.0) -> Bodies:
    return body((scale * np.array(CUBE) + by).tolist())


def sunk_corner() -> Bodies:
    """A cube whose roof corner is drawn down through its floor."""
    points = [list(p) for p in CUBE]
    points[6] = [4.0, 4.0, -3.0]
    split = [
        [0, 3, 2],
        [0, 2, 1],
        [4, 5, 6],
        [4, 6, 7],
        [0, 1, 5, 4],
        [1, 2, 6],
        [1, 6, 5],
        [2, 3, 7],
        [2, 7, 6],
        [3, 0, 4, 7],
    ]
    return body(points, split)


def courtyard() -> Bodies:
    """A ring of walls: far from convex, and sound."""
    inner = [[3, 3, 0], [7, 3, 0], [7, 7, 0], [3, 7, 0], [3, 3, 10], [7, 3, 10], [7, 7, 10], [3, 7, 10]]
    holes = [[8, 12, 13, 9], [9, 13, 14, 10], [10, 14, 15, 11], [11, 15, 12, 8]]
    rings = [0, 3, 2, 1, 8, 9, 10, 11, 4, 5, 6, 7, 12, 15, 14, 13]
    walls = [*FACES[2:], *holes]
    flat = [*rings, *[i for face in walls for i in face]]
    return from_sizes(
        np.array([*CUBE, *inner], float), flat, [4] * (4 + len(walls)), [2, 2, *[1] * len(walls)],
        [2 + len(walls)], [0] * (2 + len(walls)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "flags"),
    [
        (body, set()),
        (courtyard, set()),
        (lambda: joined(body(), shifted([10, 0, 0])), {"not_manifold", "not_orientable"}),  # wall to wall
        (lambda: joined(body(), shifted([10, 2, 2], 0.5)), set()),  # touches
        (lambda: joined(body(), shifted([10 - 5e-4, 2, 2], 0.5)), set()),  # within the margin
        (lambda: joined(body(), shifted([2, 2, 2], 0.5)), set()),  # lies inside
        (lambda: joined(body(), shifted([7, 2, 2], 0.5)), {"faces_cross"}),
        (lambda: joined(body(), shifted([2, 2, 7], 0.5)), {"faces_cross"}),
        (sunk_corner, {"faces_cross"}),
        (lambda: moved(6, [0, 0, 0.5]), {"not_planar"}),
        (lambda: moved(6, [0, 0, 0.004]), set()),
        (turned, {"not_orientable"}),
        (with_fin, {"not_orientable", "not_manifold"}),
        (star, {"self_intersection"}),
        (with_line, {"zero_area", "not_manifold"}),
    ],
)
def test_a_fault_is_found_in_the_body_that_has_it(make: Callable[[], Bodies], flags: set[str]) -> None:
    batch = canonical(concatenate([body(), make(), body()])).bodies
    found = dict(zip((fault.flag for fault in FAULTS), find_faults(batch), strict=True))
    assert not any(mask[0] or mask[2] for mask in found.values())
    assert {flag for flag, mask in found.items() if mask[1]} - {"not_orientable"} == flags - {"not_orientable"}
    assert "not_orientable" not in flags or found["not_orientable"][1]


def test_an_hourglass_is_found_though_its_area_is_none() -> None:
    found = dict(zip((f.flag for f in FAULTS), find_faults(canonical(crossed()).bodies), strict=True))
    assert found["zero_area"][0] or found["self_intersection"][0]


def test_a_face_with_a_hole_outside_itself_is_found() -> None:
    points = [*CUBE[:4], [20, 20, 0], [22, 20, 0], [22, 22, 0]]
    sheet = from_sizes(np.array(points, float), [0, 1, 2, 3, 4, 6, 5], [4, 3], [2], [1], [0])
    found = dict(zip((f.flag for f in FAULTS), find_faults(canonical(sheet).bodies), strict=True))
    assert found["self_intersection"].tolist() == [True]


def test_no_bodies_have_no_faults() -> None:
    nothing = concatenate([])
    assert [mask.tolist() for mask in find_faults(nothing)] == [[]] * len(FAULTS)


CITYJSON = """{"type":"CityJSON","version":"2.0","transform":{"scale":[0.001,0.001,0.001],"translate":[0,0,0]},
"metadata":{"referenceSystem":"https://www.opengis.net/def/crs/EPSG/0/4547"},"CityObjects":{OBJECTS},"vertices":[VERTICES]}"""


def write_cubes(path: Path, bases: Sequence[float]) -> Path:
    """Write cubes of 10 m on a grid in the middle of the city, each at a height."""
    objects, vertices = [], []
    for k, base in enumerate(bases):
        first = 8 * k
        faces = [[[i + first for i in face]] for face in FACES]
        solid = f'{{"type":"Solid","lod":"1","boundaries":[{faces}]}}'
        objects.append(f'"b{k}":{{"type":"Building","geometry":[{solid}]}}')
        for x, y, z in CUBE:
            vertices.append(
                str([int(1000 * (x + 500_000 + 30 * k)), int(1000 * (y + 4_190_000)), int(1000 * (z + base))])
            )
    text = CITYJSON.replace("OBJECTS", ",".join(objects)).replace("VERTICES", ",".join(vertices))
    path.write_text(text, "utf-8")
    return path


def test_buildings_in_the_air_and_under_the_ground_are_named(store: Store, tmp_path: Path) -> None:
    write_terrain(
        tmp_path / "terrain.tif", np.full((9, 9), 700.0), (499_900, 4_189_900, 500_300, 4_190_100), "EPSG:4547"
    )
    file = write_cubes(tmp_path / "building.city.json", [700.0, 705.0, 650.0, 699.5])
    report = ingest(store, [tmp_path / "terrain.tif"], Declared(vertical_datum="city"))
    assert report.exit_code == 0
    warned = ingest(store, [file], Declared(vertical_datum="city")).files[0].warned
    assert warned["it stands in the air, more than 1 m above the terrain"] == ["b1"]
    assert warned["it lies under the terrain"] == ["b2"]


def test_a_fault_is_a_flag_of_the_version(store: Store, tmp_path: Path) -> None:
    file = write_cubes(tmp_path / "building.city.json", [700.0, 700.0])
    text = file.read_text("utf-8").replace("[500040000, 4190010000, 710000]", "[500040000, 4190010000, 710900]")
    file.write_text(text, "utf-8")
    warned = ingest(store, [file], Declared(vertical_datum="city")).files[0].warned
    assert warned["a face leaves its plane by more than 1 cm"] == ["b1"]
    with store.connect() as connection:
        rows = connection.execute("SELECT id, flags FROM twin.building ORDER BY id").fetchall()
    assert rows == [("b0", None), ("b1", ["not_planar"])]
