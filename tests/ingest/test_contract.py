"""The contract of readers: every module of the table has its one function, with the signature of the contract."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest

from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.formats import readers as table
from ingest.formats.contract import Load, Read, Reader
from ingest.formats.readers import readers
from ingest.load import discover
from ingest.load.pipeline import ingest
from tests.factory import EAST, NORTH, write_cityjson, write_terrain


@pytest.mark.parametrize("reader", readers(), ids=lambda reader: reader.name)
def test_a_reader_has_one_function_with_the_signature_of_the_contract(reader: Reader) -> None:
    module = import_module(reader.module)
    name, contract = ("load", Load) if reader.whole else ("read", Read)
    wanted = list(inspect.signature(contract.__call__, eval_str=True).parameters.values())[1:]
    given = inspect.signature(getattr(module, name), eval_str=True)
    assert [(p.name, p.annotation) for p in given.parameters.values()] == [(p.name, p.annotation) for p in wanted]
    assert given.return_annotation == inspect.signature(contract.__call__, eval_str=True).return_annotation


def test_the_reader_of_a_file_is_asked_for_once(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = tmp_path / "delivery"
    delivery.mkdir()
    write_cityjson(delivery / "b.city.json", {"B": {"box": (EAST, NORTH, 700, 9, 9, 9)}})
    write_terrain(delivery / "terrain.tif", [[700.0] * 4] * 4, (EAST, NORTH, EAST + 40, NORTH + 40), "EPSG:4547")
    (delivery / "hydrant.csv").write_text(f"id,x,y\n1,{EAST},{NORTH}\n", "utf-8")
    asked: list[str] = []

    def counted(path: Path) -> Reader | None:
        asked.append(path.name)
        return table.reader_of(path)

    monkeypatch.setattr(discover, "reader_of", counted)
    report = ingest(store, [delivery], Declared(vertical_datum="city", crs="EPSG:4547"))
    assert report.exit_code == 0, report.summary()
    assert sorted(asked) == ["b.city.json", "hydrant.csv", "terrain.tif"]
    modules = Path(discover.__file__).parent.glob("*.py")
    assert [path.name for path in modules if "reader_of" in path.read_text("utf-8")] == ["discover.py"]
