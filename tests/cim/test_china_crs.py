"""Chinese plane systems: each code against the registry's own name, names as people write them, readings by place."""

import pytest
from pyproj import CRS, Transformer

from cim.city import YANGQUAN
from cim.reference.china import SERIES, Series, named, readings
from cim.reference.crs import parse

DATUMS = ("CGCS2000", "Xian 1980", "Beijing 1954")


@pytest.mark.parametrize(("series", "datum"), list(zip(SERIES, DATUMS, strict=True)), ids=DATUMS)
def test_each_code_is_what_the_registry_says(series: Series, datum: str) -> None:
    for step in range(21):
        assert CRS.from_epsg(series.zone_3 + step).name == f"{datum} / 3-degree Gauss-Kruger zone {25 + step}"
        assert CRS.from_epsg(series.meridian_3 + step).name == f"{datum} / 3-degree Gauss-Kruger CM {75 + 3 * step}E"
    for step in range(11):
        zone, meridian = CRS.from_epsg(series.zone_6 + step), CRS.from_epsg(series.meridian_6 + step)
        assert zone.name == f"{datum} / Gauss-Kruger zone {13 + step}"
        assert f"CM {75 + 6 * step}E" in meridian.name or f"{75 + 6 * step}" in str(meridian.to_dict().get("lon_0"))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("CGCS2000 38带", 4526),
        ("国家2000 3度带 第38带", 4526),
        ("2000国家大地坐标系 中央子午线114", 4547),
        ("CGCS2000 3-degree CM 114E", 4547),
        ("国家2000 6度带 中央经线 111", 4508),
        ("CGCS2000 19带", 4497),
        ("西安80 38带", 2362),
        ("1980西安 中央经线114", 2383),
        ("北京54 20带", 21420),
        ("Beijing 1954 CM 114E", 2435),
        ("国家2000", 4490),
        ("CGCS2000 经纬度", 4490),
    ],
)
def test_a_name_as_people_write_it(text: str, code: int) -> None:
    found = named(text)
    assert found is not None
    assert found.to_epsg() == code


def test_a_system_that_is_spelled_out_is_what_it_says_and_not_what_its_name_resembles() -> None:
    own = CRS.from_epsg(4547).to_wkt().replace("500000", "300000")
    assert "CGCS2000" in own
    false_easting = next(p.value for p in parse(own).coordinate_operation.params if "easting" in p.name.lower())
    assert false_easting == 300_000


@pytest.mark.parametrize("text", ["EPSG:4547", "WGS 84", "CGCS2000 99带", "CGCS2000 中央经线115", "GCJ-02"])
def test_no_name_is_made_of_what_is_none(text: str) -> None:
    assert named(text) is None


@pytest.mark.parametrize(
    ("code", "swapped"), [(4526, False), (4526, True), (4497, False), (4508, False), (4490, True), (4490, False)]
)
def test_a_place_of_the_city_is_found_in_the_system_it_was_written_in(code: int, swapped: bool) -> None:
    assert YANGQUAN.extent
    x, y = Transformer.from_crs(4490, code, always_xy=True).transform(113.58, 37.86)
    first, second = (y, x) if swapped else (x, y)
    found = [(r.crs.to_epsg(), r.swapped) for r in readings(first, second, CRS.from_epsg(4547), YANGQUAN.extent)]
    assert (code, swapped) in found[:3]


def test_millimetres_and_swapped_axes_of_the_declared_system_come_first() -> None:
    assert YANGQUAN.extent
    own = CRS.from_epsg(4547)
    assert [(r.scale, r.swapped) for r in readings(463e6, 4192e6, own, YANGQUAN.extent)][:1] == [(0.001, False)]
    assert [(r.scale, r.swapped) for r in readings(4192e3, 463e3, own, YANGQUAN.extent)][:1] == [(1.0, True)]
