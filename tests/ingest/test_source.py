"""Every version knows where it comes from: dataset, file, table, record, load, and who ran it."""

import getpass
import hashlib
from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from cim.read.layers import provenance
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest

GRID = "EPSG:4547"
LINES = "编号,x,y,model\n,500000,4190000,A\n,oops\nc3,500010,4190000,B\n"


@pytest.fixture
def hydrants(tmp_path: Path) -> Path:
    """A table of two points without an id of their own and one with."""
    path = tmp_path / "hydrant.csv"
    path.write_text(LINES, "utf-8")
    return path


def said_of(store: Store, layer: str, identifier: str | None = None) -> list[dict[str, object]]:
    found = store.catalog.layer(layer)
    with store.connect() as connection, connection.cursor() as cursor:
        ids = [row[0] for row in cursor.execute(f'SELECT id FROM twin."{layer}" ORDER BY fid').fetchall()]
        said = [provenance(cursor, found, name, None) for name in ids if identifier in (None, name)]
    return [origin for origin in said if origin is not None]


def test_a_record_without_an_id_is_named_by_its_line(store: Store, hydrants: Path) -> None:
    report = ingest(store, [hydrants], Declared(crs=GRID, dataset="消防栓"))
    assert report.exit_code == 3
    said = {origin["record"]: origin for origin in said_of(store, "hydrant")}
    assert set(said) == {"line 2", "c3"}
    origin = said["line 2"]
    assert origin["file"] == "hydrant.csv"
    assert origin["file_sha256"] == hashlib.sha256(hydrants.read_bytes()).hexdigest()
    assert (origin["dataset"], origin["load"], origin["operator"]) == ("消防栓", report.load, getpass.getuser())


def test_a_prefix_leaves_the_name_that_the_source_uses(store: Store, hydrants: Path) -> None:
    ingest(store, [hydrants], Declared(crs=GRID, id_prefix="east-"))
    assert said_of(store, "hydrant", "east-c3")[0]["record"] == "c3"


def test_a_table_of_several_is_named(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    for layer, x in (("hydrant", 500000), ("camera", 500020)):
        frame = gpd.GeoDataFrame({"model": ["A", "B"]}, geometry=shapely.points([[x, 4190000], [x, 4190010]]), crs=GRID)
        frame.to_file(path, layer=layer, driver="GPKG", engine="pyogrio")
    ingest(store, [path], Declared())
    for layer in ("hydrant", "camera"):
        said = said_of(store, layer)
        assert [origin["file_table"] for origin in said] == [layer, layer]
        assert len({origin["record"] for origin in said}) == 2


def test_the_record_is_no_content(store: Store, hydrants: Path) -> None:
    ingest(store, [hydrants], Declared(crs=GRID, dataset="d"))
    hydrants.write_text("编号,x,y,model\n" + "\n".join(LINES.splitlines()[:0:-1]), "utf-8")  # another order of lines
    again = ingest(store, [hydrants], Declared(crs=GRID, dataset="d"))
    assert (again.files[0].loaded, again.files[0].updated, again.files[0].unchanged) == (0, 0, 2)
