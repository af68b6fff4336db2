"""Rules of layers, on arrangements whose faults are known by construction."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from cim.geometry.topology import gaps, network_faults, overlaps, rule_faults


def chessboard(n: int, side: float = 100.0) -> np.ndarray:
    x, y = np.meshgrid(np.arange(n) * side, np.arange(n) * side)
    return np.asarray(shapely.box(x.ravel(), y.ravel(), x.ravel() + side, y.ravel() + side))


def test_a_chessboard_is_a_coverage() -> None:
    assert rule_faults("coverage", chessboard(5)) == []


@given(st.integers(0, 24), st.floats(0.5, 40.0))
def test_a_cell_that_moved_overlaps_and_leaves_a_gap_or_an_edge(cell: int, by: float) -> None:
    cells = chessboard(5)
    cells[cell] = shapely.transform(cells[cell], lambda p: np.add(p, (by, 0)))
    found = overlaps(cells)
    right = cell % 5 < 4
    assert len(found) == right
    if right:
        assert found[0].amount == pytest.approx(by * 100.0)
        assert set(found[0].members) == {cell, cell + 1}
    inner = cell % 5 > 0 and 0 < cell // 5 < 4
    holes = gaps(cells)
    assert len(holes) == inner
    if inner:
        assert holes[0].amount == pytest.approx(by * 100.0)
        assert cell in holes[0].members


def test_a_missing_cell_in_the_middle_is_a_gap() -> None:
    cells = np.delete(chessboard(3), 4)
    (hole,) = gaps(cells)
    assert hole.amount == pytest.approx(10_000.0)
    assert len(hole.members) == 8


def test_a_court_of_one_polygon_is_no_gap() -> None:
    ring = shapely.box(0, 0, 100, 100).difference(shapely.box(40, 40, 60, 60))
    assert gaps(np.array([ring, shapely.box(100, 0, 200, 100)], object)) == []


def test_rounding_is_no_fault() -> None:
    cells = chessboard(4)
    noise = np.random.default_rng(7)
    corners = shapely.get_coordinates(cells).reshape(len(cells), 5, 2)[:, :4] + noise.uniform(-1e-3, 1e-3, (16, 4, 2))
    assert rule_faults("coverage", np.asarray(shapely.polygons(corners))) == []


def test_buildings_may_share_a_wall_and_a_little_more() -> None:
    pair = np.array([shapely.box(0, 0, 10, 10), shapely.box(9.5, 0, 20, 10), shapely.box(2, 2, 9, 9)], object)
    found = rule_faults("disjoint", pair)
    assert [set(f.members) for f in found] == [{0, 2}]


def test_a_road_that_stops_short_is_named_with_the_one_it_misses() -> None:
    lines = shapely.linestrings([[[0, 0], [100, 0]], [[50, 0], [50, 80]], [[100, 0.8], [100, 60]], [[0, 0], [-50, 0]]])
    found = {f.rule: f for f in network_faults(np.asarray(lines))}
    assert set(found) == {"island", "undershoot"}
    assert found["island"].members == (2,)
    assert set(found["undershoot"].members) == {2, 0}
    assert found["undershoot"].amount == pytest.approx(0.8)


def test_a_t_crossing_joins_without_a_node() -> None:
    lines = shapely.linestrings([[[0, 0], [100, 0]], [[37.123, 0], [37.123, 80]]])
    assert network_faults(np.asarray(lines)) == []


@pytest.mark.parametrize("rule", ["coverage", "disjoint", "network"])
def test_nothing_has_no_faults(rule: str) -> None:
    assert rule_faults(rule, np.empty(0, object)) == []
