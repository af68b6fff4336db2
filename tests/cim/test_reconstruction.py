"""Ground, surfaces, roofs and solids from points whose truth is known by construction."""

from collections.abc import Callable

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cim.geometry import measures, outlines
from cim.geometry.body_batch import GROUND, ROOF, WALL
from cim.geometry.canonical import canonical
from cim.geometry.faults import find_faults
from cim.reconstruction.ground import Grid, filled, filter_ground, gridded
from cim.reconstruction.roofs import Roof, find_planes, model_roof
from cim.reconstruction.solids import solid_of

Float = NDArray[np.float64]
NOISE_M = 0.03
PER_M2 = 8

HERE = np.array([500_000.0, 4_190_000.0])
HOUSE = shapely.box(0, 0, 20, 10)
ELL = HOUSE.union(shapely.box(0, 10, 8, 24))


def gable(xy: Float) -> Float:
    return np.asarray(6 + 0.5 * np.minimum(xy[:, 1], 10 - xy[:, 1]))


def hip(xy: Float) -> Float:
    inner = np.minimum.reduce([xy[:, 0], 20 - xy[:, 0], xy[:, 1], 10 - xy[:, 1]])
    return np.asarray(6 + 0.5 * inner)


def shed(xy: Float) -> Float:
    return np.asarray(5 + 0.2 * xy[:, 0])


def flat(xy: Float) -> Float:
    return np.full(len(xy), 9.0)


def stepped(xy: Float) -> Float:
    return np.where(xy[:, 0] < 12, 9.0, 15.0)


def stair_head(xy: Float) -> Float:
    return np.where((np.abs(xy[:, 0] - 10) < 2.5) & (np.abs(xy[:, 1] - 5) < 2), 12.0, 9.0)


def crossed(xy: Float) -> Float:
    """A gable over a wing that meets a gable over the house."""
    wing = 6 + 0.5 * np.minimum(xy[:, 0], 8 - xy[:, 0])
    house = np.where(xy[:, 1] <= 10, gable(xy), -np.inf)
    return np.where(xy[:, 1] > 10, wing, np.maximum(house, np.where(xy[:, 0] < 8, wing * (xy[:, 1] > 5), -np.inf)))


def cloud(shape: shapely.Polygon, height: Callable[[Float], Float], noise: float = NOISE_M, seed: int = 1) -> Float:
    draw = np.random.default_rng(seed)
    west, south, east, north = shape.bounds
    xy = draw.uniform((west, south), (east, north), (round((east - west) * (north - south) * PER_M2), 2))
    xy = xy[shapely.contains_xy(shape, xy)]
    return np.c_[xy + HERE, height(xy) + draw.normal(0, noise, len(xy))]


def at_home(shape: shapely.Polygon) -> shapely.Polygon:
    return shapely.transform(shape, lambda xy: xy + HERE)


def true_volume(shape: shapely.Polygon, height: Callable[[Float], Float]) -> float:
    """The space below the roof, by a fine grid."""
    west, south, east, north = shape.bounds
    x, y = np.meshgrid(np.arange(west, east, 0.05) + 0.025, np.arange(south, north, 0.05) + 0.025)
    xy = np.c_[x.ravel(), y.ravel()]
    return float(height(xy[shapely.contains_xy(shape, xy)]).sum() * 0.05**2)


@pytest.mark.parametrize(
    ("shape", "height", "faces"),
    [
        (HOUSE, gable, 2), (HOUSE, hip, 4), (HOUSE, shed, 1), (HOUSE, flat, 1), (HOUSE, stepped, 2),
        (HOUSE, stair_head, 2), (ELL, crossed, 4), (ELL, flat, 1),
    ],
)  # fmt: skip
def test_a_roof_comes_back_as_it_was(shape: shapely.Polygon, height: Callable[[Float], Float], faces: int) -> None:
    roof = model_roof(at_home(shape), cloud(shape, height))
    assert roof is not None
    assert len(roof.planes) == faces
    steps = height in (stepped, stair_head)  # a point or two may lie on the wrong side of a step
    assert roof.rms_m < (0.25 if steps else 1.6 * NOISE_M)
    assert roof.within > 0.98
    assert shapely.area(roof.polygons).sum() == pytest.approx(shape.area, rel=1e-9)
    body = canonical(solid_of(roof, 0.0)).bodies
    assert measures.closed(body).all()
    assert measures.volumes(body)[0] == pytest.approx(true_volume(shape, height), rel=0.01)
    assert not np.array(find_faults(body))[:4].any()
    assert set(body.face_class) == {GROUND, WALL, ROOF}
    assert outlines.footprints(body)[0].symmetric_difference(at_home(shape)).area < 0.01


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(*([st.floats(-0.6, 0.6)] * 2), st.floats(4, 14)), min_size=1, max_size=4),
    st.integers(0, 2**20),
)
def test_a_solid_is_closed_whatever_the_planes(planes: list[tuple[float, float, float]], seed: int) -> None:
    """Any planes over any partition: walls, crossings and common nodes must still fit."""
    draw = np.random.default_rng(seed)
    lines = [shapely.linestrings(draw.uniform(-30, 50, (2, 2))) for _ in planes[1:]]
    parts = shapely.get_parts(shapely.polygonize([shapely.union_all([shapely.boundary(HOUSE), *lines])]))
    of = draw.integers(0, len(planes), len(parts))
    roof = Roof(np.asarray(parts), np.array(planes)[of], np.zeros(2), 0.0, 1.0)
    body = canonical(solid_of(roof, -2.0)).bodies
    assert measures.closed(body).all()
    assert measures.volumes(body)[0] > 0


def test_a_court_stays_open() -> None:
    shape = shapely.box(0, 0, 30, 30).difference(shapely.box(10, 10, 20, 20))
    roof = model_roof(at_home(shape), cloud(shape, flat))
    assert roof is not None
    body = canonical(solid_of(roof, 0.0)).bodies
    assert measures.closed(body).all()
    assert measures.volumes(body)[0] == pytest.approx(800 * 9.0, rel=0.01)


@pytest.mark.parametrize("count", [0, 1, 5, 11])
def test_a_few_points_show_no_roof(count: int) -> None:
    assert model_roof(at_home(HOUSE), cloud(HOUSE, flat)[:count]) is None


def test_a_tree_is_no_plane() -> None:
    planes, of = find_planes(np.random.default_rng(3).normal(0, 2.0, (500, 3)))
    assert (of >= 0).mean() < 0.7
    assert len(planes) < 12


def test_the_same_points_give_the_same_roof() -> None:
    first, second = (model_roof(at_home(HOUSE), cloud(HOUSE, hip)) for _ in range(2))
    assert first is not None
    assert second is not None
    assert np.array_equal(first.planes, second.planes)


def town(seed: int = 5) -> tuple[Float, NDArray[np.bool_], Callable[[Float], Float]]:
    """Points of a slope with houses and trees on it, which of them are ground, and the ground's height."""
    draw = np.random.default_rng(seed)

    def ground(xy: Float) -> Float:
        return np.asarray(700 + 0.08 * xy[:, 0] + 2 * np.sin(xy[:, 1] / 25))

    xy = draw.uniform(0, 200, (120_000, 2))
    z = ground(xy) + draw.normal(0, NOISE_M, len(xy))
    is_ground = np.ones(len(xy), bool)
    for x, y in draw.uniform(20, 180, (14, 2)):
        inside = (np.abs(xy[:, 0] - x) < 8) & (np.abs(xy[:, 1] - y) < 6)
        z[inside] = ground(np.array([[x, y]]))[0] + 9 + draw.normal(0, NOISE_M, inside.sum())
        is_ground[inside] = False
    for x, y in draw.uniform(5, 195, (60, 2)):
        crown = (np.hypot(xy[:, 0] - x, xy[:, 1] - y) < 2.5) & is_ground & (draw.uniform(size=len(xy)) < 0.7)
        z[crown] += draw.uniform(2, 6, crown.sum())
        is_ground[crown] = False
    return np.c_[xy, z], is_ground, ground


def test_the_filter_finds_the_ground_under_a_town() -> None:
    points, is_ground, _ = town()
    found = filter_ground(points)
    missed = (is_ground & ~found).sum() / is_ground.sum()
    wrong = (found & ~is_ground).sum() / (~is_ground).sum()
    assert missed < 0.05, "type I error of Sithole and Vosselman (2004)"
    assert wrong < 0.03, "type II error"


def test_low_echoes_are_no_ground() -> None:
    points, _, ground = town()
    pits = np.c_[np.random.default_rng(1).uniform(10, 190, (20, 2)), np.zeros(20)]
    pits[:, 2] = ground(pits) - 30
    assert not filter_ground(np.concatenate([points, pits]))[-20:].any()


def test_a_terrain_model_lies_on_the_ground() -> None:
    points, is_ground, ground = town()
    grid = Grid.over((0, 0, 200, 200), 1.0)
    terrain = filled(gridded(points[is_ground], grid, "mean"))
    assert not np.isnan(terrain).any()
    probe = np.random.default_rng(2).uniform(5, 195, (2000, 2))
    off = grid.sample(terrain, probe) - ground(probe)
    assert np.sqrt((off**2).mean()) < 0.15


def test_a_grid_counts_every_place_once() -> None:
    grid = Grid.over((0.2, 0.2, 9.7, 5.1), 0.5)
    x, y = np.meshgrid(np.arange(0, 10.01, 0.25), np.arange(0, 5.51, 0.25))
    cell, inside = grid.cells(np.c_[x.ravel(), y.ravel()])
    assert inside.all()
    assert (cell >= 0).all()
    assert (cell < grid.rows * grid.columns).all()


def test_nothing_is_made_up_far_from_points() -> None:
    values = np.full((50, 50), np.nan)
    values[:, :5] = 3.0
    result = filled(values, within=10)
    assert np.isfinite(result[:, :14]).all()
    assert np.isnan(result[:, 16:]).all()
