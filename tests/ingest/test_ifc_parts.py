"""A large IFC file in parts: the same records as of the file read whole, whatever its text looks like."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from cim.catalog.read import read_catalog
from cim.errors import UnreadableFile
from cim.features import ReadOptions
from cim.geometry.body_batch import select
from ingest.formats import parts
from ingest.formats.city_models import ifc, ifc_parts
from tests.ingest.test_ifc import written


@pytest.fixture
def parts_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is large, and every part has one element."""
    monkeypatch.setattr(ifc_parts, "LARGE_BYTES", 10)
    monkeypatch.setattr(ifc_parts, "PART_ELEMENTS", 1)
    monkeypatch.setattr(ifc_parts, "_STEP", 1)
    monkeypatch.setattr(parts, "_PARTS_A_PROCESS", 100)


def said(path: Path) -> list[Any]:
    """All that the reader says of a file, in an order of its own."""
    (source,) = ifc.read(path, ReadOptions(read_catalog(), workers=2))
    header = source.header
    batches = list(source.batches)
    return [
        (header.crs, header.title, header.warnings),
        *sorted(record for batch in batches for record in _records(batch)),
        sorted((refusal.id, refusal.reason) for batch in batches for refusal in batch.refused),
        [batch.warnings for batch in batches if batch.warnings],
    ]


def _records(batch: Any) -> Iterator[tuple[str, ...]]:
    bodies = dict(zip(batch.body_record.tolist(), range(len(batch.bodies)), strict=True)) if batch.bodies else {}
    for row, identifier in enumerate(batch.ids):
        body = select(batch.bodies, np.array([bodies[row]])) if row in bodies else None
        shape = None if body is None else np.round(body.vertices[body.indices], 6).tolist()
        outline = None if batch.geometry[row] is None else round(shapely.area(batch.geometry[row]), 6)
        plain = (batch.attributes[row], batch.object_class[row], batch.parent_id[row], shape, outline)
        yield identifier, *map(repr, plain)


def test_parts_give_what_the_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    path = written(tmp_path / "a.ifc")
    whole = said(path)
    assert [record[0][:1] for record in whole[1:-2]] == list("23456")  # a building, a storey, a slab, a roof of a part
    request.getfixturevalue("parts_of_one")
    assert said(path) == whole
    monkeypatch.setattr(ifc_parts, "_STEP", 100)
    monkeypatch.setattr(ifc_parts, "PART_ELEMENTS", 2)
    assert said(path) == whole


@pytest.mark.parametrize("name", ["Building-Architecture", "Building-Structural", "Building-Hvac"])
def test_openings_types_and_materials_come_with_their_elements(
    shared_data: Path, request: pytest.FixtureRequest, name: str
) -> None:
    path = shared_data / f"ifc_pcert/{name}.ifc"
    whole = said(path)
    assert sum("'material'" in record[1] for record in whole[1:-2]) > 3
    request.getfixturevalue("parts_of_one")
    assert said(path) == whole


def test_signs_within_text_and_remarks_end_nothing(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = written(tmp_path / "a.ifc")
    text = path.read_text("ascii")
    text = text.replace("'slab'", "'it''s; #99=IFCWALL(),(('").replace("#60=", "/* #60=IFC'; */\n#60 = ")
    text = text.replace("(#40,#41,#43)", "( #40 ,\r\n #41,/* ) */ #43 )").replace("IFCROOF", "IfcRoof")
    path.write_text(text, "ascii")
    whole = said(path)
    assert any(
        "it\\'s; #99=IFCWALL(),((" in record[1] or "it's; #99=IFCWALL(),((" in record[1] for record in whole[1:-2]
    )
    request.getfixturevalue("parts_of_one")
    assert said(path) == whole


def test_a_reference_into_nothing_costs_the_element_alone(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = written(tmp_path / "a.ifc")
    path.write_text(path.read_text("ascii").replace("#22,#39,$,.ROOF.", "#22,#999,$,.ROOF."), "ascii")
    request.getfixturevalue("parts_of_one")
    records = {record[0][:1] for record in said(path)[1:-2]}
    assert {"2", "3", "4"} <= records
    assert "6" not in records


@pytest.mark.parametrize(
    ("kept", "reason"), [(0.0, "no header"), (0.5, "cut short"), (0.9, "cut short"), (0.999, "cut short")]
)
def test_a_large_file_cut_short_says_where(tmp_path: Path, parts_of_one: None, kept: float, reason: str) -> None:
    path = written(tmp_path / "a.ifc")
    text = path.read_text("ascii").removesuffix("END-ISO-10303-21;\n")
    path.write_text(text[: int(len(text) * kept)] or "not a building model", "ascii")
    with pytest.raises(UnreadableFile, match=rf"a\.ifc.*{reason}"):
        said(path)


def test_a_large_file_of_an_unknown_schema_is_an_error(tmp_path: Path, parts_of_one: None) -> None:
    path = written(tmp_path / "a.ifc")
    path.write_text(path.read_text("ascii").replace("'IFC4'", "'IFC9'"), "ascii")
    with pytest.raises(UnreadableFile, match=r"a\.ifc.*IFC9"):
        said(path)


@pytest.mark.parametrize("instance", ["#40=", "#22,#39,$,.FLOOR."])
def test_numbers_beyond_all_bounds_are_an_error_of_the_file(tmp_path: Path, parts_of_one: None, instance: str) -> None:
    path = written(tmp_path / "a.ifc")
    text = path.read_text("ascii")
    assert instance in text
    path.write_text(text.replace(instance, instance.replace("#", "#" + "9" * 30)), "ascii")
    with pytest.raises(UnreadableFile, match=r"a\.ifc"):
        said(path)
