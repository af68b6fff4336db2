"""A large drawing in parts: the same records as of the drawing read whole; names only where the drawing has them."""

from pathlib import Path
from typing import Any

import ezdxf
import pytest
import shapely
from ezdxf.document import Drawing

from cim.catalog.read import read_catalog
from cim.errors import UnreadableFile
from cim.features import ReadOptions
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.formats.drawings import dxf, dxf_parts
from ingest.load.pipeline import ingest

E, N = 463_000, 4_192_000


@pytest.fixture
def parts_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every drawing is large, and every part has one entity."""
    monkeypatch.setattr(dxf_parts, "LARGE_BYTES", 10)
    monkeypatch.setattr(dxf_parts, "PART_BYTES", 1)
    monkeypatch.setattr(dxf_parts, "_FRAMES_A_PART", 0)


def filled(version: str = "R2010") -> Drawing:
    """A drawing with one of each: lines, text, symbols with and without attributes, faces, what is left out."""
    drawing: Drawing = ezdxf.new(version)  # type: ignore[attr-defined]
    space = drawing.modelspace()
    tree = drawing.blocks.new("TREE")
    tree.add_circle((0, 0), 1)
    tree.add_attdef("KIND", (0, 0))
    big = drawing.blocks.new("BIG")
    big.add_line((0, 0), (100, 100))
    space.add_line((E, N, 1), (E + 5, N, 2), dxfattribs={"layer": "DGX"})
    space.add_polyline3d([(E, N, 1), (E + 3, N, 2), (E + 3, N + 3, 3)], dxfattribs={"layer": "DGX"})
    space.add_text("砖3", dxfattribs={"layer": "JMD", "insert": (E + 5, N + 5)})
    space.add_text("0", dxfattribs={"layer": "0", "insert": (E + 6, N + 5)})
    space.add_blockref("TREE", (E, N + 9), dxfattribs={"layer": "ZBTZ"}).add_auto_attribs({"KIND": "槐"})
    space.add_blockref("BIG", (E, N + 20))
    space.add_3dface([(E, N, 0), (E + 1, N, 0), (E + 1, N + 1, 1), (E, N + 1, 1)], dxfattribs={"layer": "ROOF"})
    space.add_3dface([(E, N, 0), (E, N + 1, 0), (E, N + 1, 1), (E, N, 1)], dxfattribs={"layer": "ROOF"})
    space.add_point((E, N, 700), dxfattribs={"layer": "GCD"})
    if version != "R12":
        space.add_ray((E, N), (1, 0))
        space.add_ray((E, N), (0, 1))
    return drawing


def said(path: Path, encoding: str | None = None) -> list[Any]:
    """All that the reader says of a drawing."""
    (source,) = dxf.read(path, ReadOptions(read_catalog(), encoding, workers=2))
    batches = list(source.batches)
    records = [
        (name, batch.attributes[row], batch.object_class[row], shapely.to_wkt(batch.geometry[row]))
        for batch in batches
        for row, name in enumerate(batch.ids)
    ]
    return [
        (source.header.crs, source.header.warnings),
        records,
        [(refusal.id, refusal.reason) for batch in batches for refusal in batch.refused],
        [batch.warnings for batch in batches if batch.warnings],
        [batch.bodies.vertices.tolist() for batch in batches if len(batch.bodies)],
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("version", ["R12", "R2000", "R2010"])
def test_parts_give_what_the_whole_gives(
    tmp_path: Path, request: pytest.FixtureRequest, version: str, newline: str
) -> None:
    path = tmp_path / "a.dxf"
    filled(version).saveas(path)
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", newline.encode()))
    whole = said(path)
    assert len(whole[1]) == 8  # the faces are one body
    assert whole[3] == ([] if version == "R12" else [{"entities left out: 2 RAY": ()}])
    request.getfixturevalue("parts_of_one")
    assert said(path) == whole


def test_each_part_keeps_an_entity_and_what_belongs_to_it(tmp_path: Path, parts_of_one: None) -> None:
    path = tmp_path / "a.dxf"
    filled().saveas(path)
    drawing = dxf_parts.drawing_of(path, None)
    assert isinstance(drawing, dxf_parts._Split)
    kinds = [[entity.dxftype() for entity in dxf_parts._opened_text(text, path, None)[0].modelspace()]
             for text in drawing._parts()]  # fmt: skip
    assert [kind for part in kinds for kind in part] == [entity.dxftype() for entity in filled().modelspace()]
    assert max(map(len, kinds)) == 1


@pytest.mark.parametrize("encoding", ["gbk", "utf-8"])
def test_text_is_read_in_the_drawings_own_code_page(tmp_path: Path, parts_of_one: None, encoding: str) -> None:
    path = tmp_path / "a.dxf"
    drawing = filled("R2000" if encoding == "gbk" else "R2010")
    drawing.encoding = encoding
    drawing.saveas(path)
    assert [record[1]["text"] for record in said(path)[1] if "text" in record[1]] == ["砖3", "0"]


def test_geodata_places_every_part(shared_data: Path, request: pytest.FixtureRequest) -> None:
    for path in sorted(shared_data.rglob("*.dxf")):
        whole = said(path)
        request.getfixturevalue("parts_of_one")
        assert said(path) == whole, path


def test_a_large_drawing_cut_short_gives_what_is_there_and_says_so(tmp_path: Path, parts_of_one: None) -> None:
    path = tmp_path / "a.dxf"
    filled().saveas(path)
    text = path.read_text("utf-8")
    path.write_text(text[: text.index("\nGCD")], "utf-8")
    header, records, *_ = said(path)
    assert header[1] == ("a damaged drawing: it ends within its entities, of which the last is left out",)
    assert [record[1]["layer"] for record in records][:4] == ["DGX", "DGX", "JMD", "0"]


def test_a_part_that_must_be_recovered_says_so(tmp_path: Path, parts_of_one: None) -> None:
    path = tmp_path / "a.dxf"
    filled().saveas(path)
    text = path.read_text("utf-8")
    path.write_text(text.replace("\n 10\n463000", "\n 10\nx463000", 1), "utf-8")
    _, records, _, warned, _ = said(path)
    assert len(records) == 8
    assert any("a damaged drawing: recovered" in warning for batch in warned for warning in batch)


def test_a_large_file_that_is_no_drawing_is_an_error(tmp_path: Path, parts_of_one: None) -> None:
    path = tmp_path / "a.dxf"
    path.write_text("this is not a drawing\n" * 10, "ascii")
    with pytest.raises(UnreadableFile, match=r"a\.dxf.*no section of entities"):
        said(path)


def test_a_large_binary_drawing_is_refused_with_a_way_out(
    tmp_path: Path, parts_of_one: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dxf"
    filled().saveas(path, fmt="bin")
    assert len(said(path)[1]) == 8
    monkeypatch.setattr(dxf_parts, "_LARGEST_BINARY", 100)
    with pytest.raises(UnreadableFile, match=r"a\.dxf.*ASCII"):
        said(path)


MINIMAL = (
    "  0\nSECTION\n  2\nENTITIES\n  0\nPOINT\n  8\nGCD\n 62\n     5\n"
    " 10\n463000.0\n 20\n4192000.0\n 30\n700.5\n  0\nENDSEC\n"
)


def test_a_drawing_of_entities_alone_is_one(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = tmp_path / "a.dxf"
    path.write_text(f"{MINIMAL}  0\nEOF\n", "ascii")
    whole = said(path)
    assert [record[0] for record in whole[1]] == [None]
    request.getfixturevalue("parts_of_one")
    assert said(path) == whole


def test_entities_without_handles_have_no_names_and_are_matched_by_their_place(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a.dxf"
    drawing = filled("R12")
    drawing.header["$HANDLING"] = 0
    drawing.saveas(path)
    (source,) = dxf.read(path, ReadOptions(read_catalog()))
    names = {name for batch in source.batches for name in batch.ids if name}
    assert names == {"dxf-faces-ROOF"}
    first = ingest(store, [path], Declared(crs="EPSG:4547", vertical_datum="city"))
    assert first.exit_code == 0, first.summary()
    next(iter(drawing.modelspace().query("LINE"))).destroy()
    drawing.modelspace().purge()
    drawing.saveas(path)
    again = ingest(store, [path], Declared(crs="EPSG:4547", vertical_datum="city"))
    (file,) = again.files
    assert (file.loaded, file.updated, file.unchanged) == (0, 0, first.files[0].loaded - 1), again.summary()
