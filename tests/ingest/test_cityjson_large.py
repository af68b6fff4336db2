"""A large document read object by object gives what the whole of it gives, and its faults are told as well."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cim.catalog.read import read_catalog
from cim.errors import UnreadableFile
from cim.features import Features, ReadOptions
from cim.geometry.canonical import canonical
from cim.geometry.stored_form import encode
from ingest.formats.city_models import cityjson
from tests.conftest import DELFT
from tests.factory import EAST, NORTH
from tests.factory import cityjson as document_of


def batches(path: Path) -> list[Features]:
    (source,) = cityjson.read(path, ReadOptions(read_catalog()))
    return list(source.batches)


def said(path: Path) -> list[Any]:
    """What a reader makes of a file, in a form that can be compared."""
    found: list[Any] = []
    for batch in batches(path):
        stored = iter(encode(canonical(batch.bodies).bodies)) if len(batch.bodies) else iter(())
        found.append((batch.ids, batch.attributes, batch.object_class, batch.parent_id, batch.body_lod, list(stored)))
        found.append([(r.id, r.reason) for r in batch.refused])
    return found


def both(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], list[Any]]:
    whole = said(path)
    monkeypatch.setattr(cityjson, "LARGE_BYTES", 10)
    return whole, said(path)


HARD = {
    "braces": {"attributes": {"name": 'a "{[" \\ }]', "中文": "阳泉 {甲}", "empty": {}, "list": [1, "]", {"a": [2]}]}},
    "parent": {"type": "Building", "children": ["part"]},
    "part": {"type": "BuildingPart", "parents": ["parent"], "box": (EAST + 40, NORTH, 700, 10, 10, 10)},
    "plain": {"box": (EAST, NORTH, 700, 10, 10, 10)},
    "no numbers": {"box": (EAST + 80, NORTH, 700, 10, 10, float("inf"))},
}


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_hard_names_and_any_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, indent: Any) -> None:
    document = document_of(HARD)
    document |= {"+extra": ["x", {"y": "]"}], "+number": -1.5e3, "+none": None}
    path = tmp_path / "a.city.json"
    path.write_text(json.dumps(document, ensure_ascii=indent is None, indent=indent), "utf-8")
    whole, streamed = both(path, monkeypatch)
    assert streamed == whole
    assert sum(len(found[0]) for found in whole[::2]) == 5


def test_parts_of_a_document_hold_their_own_vertices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cityjson, "BATCH_SIZE", 50)
    boxes = {f"b{k}": {"box": (EAST + 20 * k, NORTH, 700, 10, 10, 10)} for k in range(500)}
    path = tmp_path / "a.city.json"
    path.write_text(json.dumps(document_of(boxes)), "utf-8")
    whole, streamed = both(path, monkeypatch)
    assert streamed == whole
    assert len(whole) == 20
    assert [len(batch.bodies.vertices) for batch in batches(path)] == [8 * 50] * 10


def test_real_models_are_the_same(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (
        shared_data / "cityjson_delft3dbag/delft.json",
        shared_data / "cityjson_zurich/zurich_subset_lod2.json",
    ):
        assert path.exists(), DELFT
        with monkeypatch.context() as patched:
            whole, streamed = both(path, patched)
        assert streamed == whole


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_large_document_cut_short_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    monkeypatch.setattr(cityjson, "LARGE_BYTES", 10)
    text = json.dumps(document_of(HARD)).encode()
    path = tmp_path / "a.city.json"
    path.write_bytes(text[: int(share * len(text))])
    with pytest.raises(UnreadableFile, match=r"cut short|not a CityJSON|type None|transform|readable is"):
        batches(path)


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"type": "CityJSON"', '"x"', '{"type": "CityJSON", "CityObjects": {"a": {]}}']
)
def test_what_is_no_document_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(cityjson, "LARGE_BYTES", 1)
    path = tmp_path / "a.city.json"
    path.write_text(text, "utf-8")
    with pytest.raises(UnreadableFile):
        batches(path)


MEASURE = """
import resource, sys
from pathlib import Path
from cim.catalog.read import read_catalog
from cim.features import ReadOptions
from ingest.formats.city_models import cityjson
(source,) = cityjson.read(Path(sys.argv[1]), ReadOptions(read_catalog()))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(len(batch) for batch in source.batches)
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_does_not_grow_with_the_document(tmp_path: Path) -> None:
    """50 MB of buildings; parsed whole they take half a gigabyte."""
    count = 120_000
    base = document_of({f"b{k}": {"box": (EAST, NORTH, 700, 10, 10, 10)} for k in range(2)})
    one = json.dumps(base["CityObjects"]["b0"])
    path = tmp_path / "large.city.json"
    with path.open("w", encoding="utf-8") as file:
        head = {k: v for k, v in base.items() if k not in ("CityObjects", "vertices")}
        file.write(json.dumps(head)[:-1] + ', "CityObjects": {')
        file.write(",".join(f'"b{k}": {one}' for k in range(count)))
        file.write('}, "vertices": ' + json.dumps(base["vertices"]) + "}")
    assert path.stat().st_size > cityjson.LARGE_BYTES
    done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True)
    read, grown_mb = map(int, done.stdout.split())
    assert read == count
    assert grown_mb < 250
