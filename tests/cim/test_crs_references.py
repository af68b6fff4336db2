"""References to a CRS as models write them."""

import pytest

from cim.reference.crs import parse_reference


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("EPSG:32760", "WGS 84 / UTM zone 60S"),
        ("urn:ogc:def:crs:EPSG::25832", "ETRS89 / UTM zone 32N"),
        ("https://www.opengis.net/def/crs/EPSG/0/7415", "Amersfoort / RD New + NAP height"),
        ("http://www.opengis.net/def/crs/EPSG/9.9.1/21413", "Beijing 1954 / Gauss-Kruger zone 13"),
        ("urn:ogc:def:crs,crs:EPSG:6.12:3068,crs:EPSG:6.12:5783", "DHDN / Soldner Berlin + DHHN92 height"),
        ("urn:adv:crs:ETRS89_UTM32*DE_DHHN2016_NH", "ETRS89 / UTM zone 32N + DHHN2016 height"),
    ],
)
def test_each_form_is_read_whole(reference: str, name: str) -> None:
    found = parse_reference(reference)
    assert found is not None
    assert found.name == name


def test_no_reference_is_no_crs() -> None:
    assert parse_reference(None) is None
    assert parse_reference("") is None
