"""Measures of batches against values that follow from the shapes themselves."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from cim.geometry import extrusion, measures, outlines, triangulation
from cim.geometry.body_batch import ROOF, WALL, Bodies, concatenate, from_sizes, select
from cim.geometry.canonical import canonical
from cim.geometry.stored_form import decode, encode

COURTYARD = shapely.Polygon([(0, 0), (20, 0), (20, 20), (0, 20)], [[(5, 5), (5, 15), (15, 15), (15, 5)]])


def prisms(*polygons: shapely.Polygon, base: float = 700.0, height: float = 9.0) -> Bodies:
    shapes = np.array([shapely.MultiPolygon([p]) for p in polygons], object)
    n = len(polygons)
    return canonical(extrusion.extrude(shapes, np.full(n, base), np.full(n, height))).bodies


def test_a_courtyard_stays_open() -> None:
    body = prisms(COURTYARD)
    assert measures.volumes(body) == pytest.approx([2700.0])
    assert measures.closed(body).all()
    roof = body.area_vectors[body.face_class == ROOF]
    assert np.linalg.norm(roof, axis=1).sum() == pytest.approx(300.0)
    assert shapely.area(outlines.footprints(body)) == pytest.approx([300.0])


@given(
    st.lists(
        st.tuples(*[st.floats(1, 50)] * 3, st.integers(3, 9), st.floats(0, 6.2)),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=40, deadline=None)
def test_prisms_of_any_polygon_have_area_times_height(shapes: list[tuple[float, float, float, int, float]]) -> None:
    polygons = []
    for radius, x, y, corners, turn in shapes:
        angles = turn + np.linspace(0, 2 * np.pi, corners, endpoint=False)
        polygons.append(shapely.Polygon(np.c_[x + radius * np.cos(angles), y + radius * np.sin(angles)]))
    bodies = prisms(*polygons)
    areas = shapely.area(np.array(polygons, object))
    assert measures.volumes(bodies) == pytest.approx(9.0 * areas, rel=1e-3)
    assert measures.closed(bodies).all()
    triangles, face = triangulation.triangulate(bodies)
    corners_ = bodies.vertices[bodies.indices[triangles]]
    cross = 0.5 * np.cross(corners_[:, 1] - corners_[:, 0], corners_[:, 2] - corners_[:, 0])
    summed = np.zeros((len(bodies.face_class), 3))
    np.add.at(summed, face, cross)
    assert summed == pytest.approx(bodies.area_vectors, abs=1e-6)
    assert encode(decode(encode(bodies))) == encode(bodies)


def test_the_footprint_of_a_cambered_deck_is_the_whole_deck() -> None:
    """Without ground surfaces; the lowest of its undersides lie at its two ends only."""
    x, top = np.linspace(0.0, 80.0, 9), 700.0 + 2.0 * np.sin(np.linspace(0, np.pi, 9))
    rows = [(0.0, top - 1.0), (10.0, top - 1.0), (0.0, top), (10.0, top)]  # right and left below, right and left above
    vertices = np.concatenate([np.c_[x, np.full(9, y), z] for y, z in rows])
    rb, lb, rt, lt = np.arange(36).reshape(4, 9)
    quads = [[lb[0], rb[0], rt[0], lt[0]], [rb[8], lb[8], lt[8], rt[8]]]
    for a, b in ((k, k + 1) for k in range(8)):
        quads += [[rt[a], rt[b], lt[b], lt[a]], [lb[a], lb[b], rb[b], rb[a]]]
        quads += [[rb[a], rb[b], rt[b], rt[a]], [lt[a], lt[b], lb[b], lb[a]]]
    deck = from_sizes(
        vertices, np.array(quads).ravel(), np.full(34, 4), np.ones(34, np.int64), np.array([34]), np.full(34, WALL)
    )
    assert measures.closed(deck).all()
    (footprint,) = outlines.footprints(deck)
    assert footprint.bounds == (0.0, 0.0, 80.0, 10.0)
    assert footprint.area == pytest.approx(800.0)


def test_an_open_box_is_open_and_its_neighbour_is_not() -> None:
    whole = prisms(shapely.box(0, 0, 10, 10), shapely.box(30, 0, 40, 10))
    sizes = np.diff(whole.face_start)
    lid = np.flatnonzero(whole.face_class == ROOF)[0]
    keep = np.arange(len(whole.face_class)) != lid
    ring_sizes = np.diff(whole.index_start)[keep]
    indices = whole.indices[np.repeat(keep, np.diff(whole.index_start))]
    faces = [sizes[0] - 1, sizes[1]]
    one_ring = np.ones(keep.sum(), int)
    opened = from_sizes(whole.vertices, indices, ring_sizes, one_ring, faces, whole.face_class[keep])
    assert measures.closed(opened).tolist() == [False, True]


def test_the_same_body_has_the_same_form_however_its_vertices_are_numbered() -> None:
    body = prisms(COURTYARD)
    shuffle = np.random.default_rng(1).permutation(len(body.vertices))
    place = np.argsort(shuffle)
    shuffled = Bodies(
        body.vertices[shuffle], place[body.indices], body.index_start, body.ring_start, body.face_start, body.face_class
    )
    assert encode(canonical(shuffled).bodies) == encode(body)


def test_bodies_with_nan_or_two_points_fall_and_the_rest_stays() -> None:
    good = prisms(shapely.box(0, 0, 10, 10))
    nan = np.array([[0, 0, 0], [np.nan, 0, 0], [0, 1, 0.0]])
    broken = from_sizes(nan, [0, 1, 2], [3], [1], [1], [0])
    thin = from_sizes(np.zeros((3, 3)), [0, 1, 2], [3], [1], [1], [0])
    outcome = canonical(concatenate([broken, good, thin]))
    assert outcome.valid.tolist() == [False, True, False]
    assert encode(outcome.bodies) == encode(good)


def test_selection_keeps_bodies_as_they_are() -> None:
    three = prisms(COURTYARD, shapely.box(50, 0, 60, 20), shapely.box(80, 0, 90, 30))
    two = canonical(select(three, np.array([True, False, True]))).bodies
    assert encode(two) == [encode(three)[0], encode(three)[2]]
