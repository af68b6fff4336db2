"""The quality report: what a load brought, counted against what its file holds."""

import json
from html.parser import HTMLParser
from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from cim.loads.quality import read_quality
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from services.http.quality_page import quality_page

GRID = "EPSG:4547"
HERE = (500_000.0, 4_190_000.0)


def box(x: float, y: float, wide: float = 100.0) -> shapely.Polygon:
    return shapely.box(HERE[0] + x, HERE[1] + y, HERE[0] + x + wide, HERE[1] + y + wide)


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Six cells: one without its code, one that overlaps its neighbour, one twice, and a gap of 20 m."""
    shapes = [box(0, 0), box(100, 0), box(190, 0), box(0, 100), box(0, 100), shapely.box(*box(100, 100).bounds)]
    frame = gpd.GeoDataFrame(
        {"id": list("abcdef"), "code": ["1", "2", "3", "4", "5", None], "area_m2": [1e4, 1e4, -5.0, 1e4, 1e4, 1e4]},
        geometry=shapes,
        crs=GRID,
    )
    frame.to_file(tmp_path / "grid_cell.gpkg", driver="GPKG", engine="pyogrio")
    return tmp_path / "grid_cell.gpkg"


def said(store: Store, load: int | None) -> dict[str, object]:
    with store.connect() as connection, connection.cursor() as cursor:
        known = read_quality(cursor, store, load or 0)
    assert known is not None
    return known


def test_fields_and_rules_are_counted(store: Store, cells: Path) -> None:
    report = ingest(store, [cells], Declared())
    known = said(store, report.load)
    (layer,) = known["quality"]["layers"]  # type: ignore[index]
    assert (layer["id"], layer["count"], layer["duplicates"]) == ("grid_cell", 6, 1)
    fields = {field["name"]: field for field in layer["fields"]}
    assert (fields["code"]["filled"], fields["code"]["missing"], fields["code"]["obligation"]) == (5, 1, "M")
    assert fields["area_m2"]["misfits"] == 1
    assert (fields["area_m2"]["min"], fields["area_m2"]["max"]) == (-5.0, 1e4)
    assert sum(fields["area_m2"]["histogram"]) == 6
    rules = {finding["rule"]: finding for finding in layer["findings"]}
    assert set(rules) == {"overlap"}
    # b and c share 10 m; d and e are the same cell; c and f share 10 m × nothing
    assert [(set(p["ids"]), p["amount"]) for p in rules["overlap"]["places"]] == [({"d", "e"}, 1e4), ({"b", "c"}, 1e3)]
    report.quality = known["quality"]  # type: ignore[assignment] # as the command does
    assert "1 of 6 without code, which is mandatory" in report.summary()
    assert report.as_json()["findings"] == [line.strip() for line in report.summary().splitlines()[1:]]


def test_a_load_is_blamed_for_its_own_only(store: Store, cells: Path, tmp_path: Path) -> None:
    ingest(store, [cells], Declared())
    far = gpd.GeoDataFrame({"id": ["z"], "code": ["9"]}, geometry=[box(1000, 1000)], crs=GRID)
    far.to_file(tmp_path / "more.gpkg", driver="GPKG", engine="pyogrio")
    (layer,) = said(store, ingest(store, [tmp_path / "more.gpkg"], Declared(layer="grid_cell")).load)["quality"][
        "layers"
    ]  # type: ignore[index]
    assert (layer["count"], layer["findings"], layer["duplicates"]) == (1, [], 0)


class Page(HTMLParser):
    """What a page loads, and whether its tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_says_all_in_both_languages(store: Store, cells: Path) -> None:
    known = said(store, ingest(store, [cells], Declared(dataset="<b>x</b>")).load)
    text = quality_page(known, "阳泉", "zh")
    page = Page(text)
    assert page.open == []
    assert page.addresses == ["data:,"]
    assert text.count("<circle") == 2
    for words in ("质量报告", "Quality report", "重叠", "Overlap", "网格编码", "Cell code", "必填", "Mandatory"):
        assert words in text
    assert "<b>x</b>" not in text


def test_what_was_set_aside_is_on_the_map(store: Store, tmp_path: Path) -> None:
    shapes = [box(0, 0), shapely.Point(HERE)]
    frame = gpd.GeoDataFrame({"id": ["a", "b"], "code": ["1", "2"]}, geometry=shapes, crs=GRID)
    frame.to_file(tmp_path / "grid_cell.geojson", driver="GeoJSON", engine="pyogrio", RFC7946="NO")
    known = said(store, ingest(store, [tmp_path / "grid_cell.geojson"], Declared(crs=GRID)).load)
    (refused,) = known["quality"]["refused"]  # type: ignore[index]
    assert (refused["id"], refused["layer"], refused["at"]) == ("b", "grid_cell", list(HERE))
    text = quality_page(known, "阳泉")
    assert "图层 grid_cell 只收 MultiPolygon，不收 Point" in text
    assert json.dumps(known)


def test_a_load_without_shapes_has_a_page(store: Store, tmp_path: Path) -> None:
    (tmp_path / "parking_observation.csv").write_text("feature,time,occupied\np1,2024-01-01T00:00:00Z,4\n", "utf-8")
    report = ingest(store, [tmp_path / "parking_observation.csv"], Declared())
    assert '<svg class="map"' not in quality_page(said(store, report.load), "阳泉")
