"""A raster is read over any box: what would be too large, or has no bounds, is refused with a sentence."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyproj import CRS

from cim.analysis.engine.inputs import MetricBox
from cim.analysis.engine.store_inputs import MOST_CELLS, window
from cim.errors import BadRequest
from cim.read.terrain import surfaces
from tests.conftest import Served

SIDE = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.floats(462_000, 464_000))


@pytest.fixture(scope="module")
def sheets(sample_city: Served) -> list[object]:
    ground = sample_city.store.catalog.with_role("ground")
    assert ground
    with sample_city.store.connect("server") as connection, connection.cursor() as cursor:
        return list(surfaces(cursor, sample_city.store, ground))


@given(SIDE, SIDE, SIDE, SIDE, st.sampled_from([None, 1.0, 50.0]))
@example(-1e308, -1e308, 1e308, 1e308, None)
@example(1e308, 1e308, 1e308, 1e308, 1.0)
def test_any_box_is_read_or_refused(
    sheets: list[object], x0: float, y0: float, x1: float, y1: float, cell_m: float | None
) -> None:
    box = MetricBox(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    with suppress(BadRequest):
        read = window(sheets, box, CRS(4547), smooth=True, cell_m=cell_m)
        assert read is None or 0 < read.cells.size <= MOST_CELLS


def test_a_box_without_bounds_is_refused_in_few_words(sheets: list[object]) -> None:
    with pytest.raises(BadRequest) as refused:
        window(sheets, MetricBox(-1e300, -1e300, 1e300, 1e300), CRS(4547), smooth=True)
    assert len(str(refused.value)) < 200
