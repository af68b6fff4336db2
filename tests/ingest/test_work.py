"""The part of a load that processes share: the same rows in the same order, whoever makes them."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cim.catalog.read import read_catalog
from cim.city import YANGQUAN
from cim.concurrency.process_pool import Pool, in_order, process_pool
from cim.config import Settings
from cim.errors import UnreadableFile
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.delivery.report import FileReport
from ingest.formats.city_models import cityjson
from ingest.formats.contract import Incoming
from ingest.formats.readers import reader_of
from ingest.load import opened
from ingest.load.pipeline import ingest
from ingest.load.work import Prepared, prepared
from tests.benchmarks.town import write_sequence
from tests.conftest import MakeStore

COUNT = 300


@pytest.fixture
def sequence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cityjson, "PART_BYTES", 20_000)
    return write_sequence(tmp_path / "building.city.jsonl", COUNT)


def rows_of(file: Path, workers: int) -> Iterator[Prepared]:
    incoming = incoming_of(file, Declared(vertical_datum="city"))
    source = next(iter(cityjson.read(file, incoming.options)))
    assert len(source.parts) > 5
    return prepared(incoming.of_table(source.header, None), source, workers)


def incoming_of(file: Path, declared: Declared) -> Incoming:
    store = Store(Settings(), YANGQUAN, read_catalog(), "", "")
    return Incoming(file, declared, store, 1, FileReport(str(file)), reader_of(file))


def test_processes_make_the_rows_that_one_makes(sequence: Path) -> None:
    alone, shared = list(rows_of(sequence, 1)), rows_of(sequence, 2)
    together = [next(shared)]
    time.sleep(4.0)  # while other processes start, this one makes the rows; then they do
    together += shared
    assert [[rows for _, rows in batch.rows] for batch in together] == [[r for _, r in batch.rows] for batch in alone]
    assert [name for batch in together for _, rows in batch.rows for name in rows.ids] == [
        f"B{i}" for i in range(COUNT)
    ]
    assert [batch.report for batch in together] == [batch.report for batch in alone]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("line", [2, 150, COUNT + 1])
def test_a_line_that_cannot_be_read_is_named(sequence: Path, workers: int, line: int) -> None:
    lines = sequence.read_bytes().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1][:40] + b"\n"
    sequence.write_bytes(b"".join(lines))
    with pytest.raises(UnreadableFile, match=rf"line {line}: not JSON, or cut short"):
        list(rows_of(sequence, workers))


def test_results_come_in_order_and_not_too_far_ahead() -> None:
    begun = []

    def work(task: int) -> int:
        begun.append(task)
        return task * task

    with ThreadPoolExecutor(3) as pool:
        for number, result in enumerate(in_order(pool, work, range(50), ahead=4)):
            assert result == number * number
            assert len(begun) <= number + 1 + 4
    assert sorted(begun) == list(range(50))


def test_what_fails_in_a_task_fails_here() -> None:
    def work(task: int) -> float:
        return 1 / (3 - task)

    with ThreadPoolExecutor(2) as pool, pytest.raises(ZeroDivisionError):
        list(in_order(pool, work, range(10), ahead=2))


def test_who_waits_is_told_how_far_it_is(store: Store, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("id,x,y\n1,500000,4190000\n2,500001,4190000\n", "utf-8")
    told: list[tuple[float, str]] = []
    said = Declared(layer="hydrant", crs="EPSG:4547")
    ingest(store, [tmp_path], said, progress=lambda share, what: told.append((share, what)))
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[0] == (0.0, "a.csv")
    assert "b.csv: 2" in [what for _, what in told]


@contextmanager
def standing_pool(workers: int, home: str) -> Iterator[Pool]:
    with process_pool(workers, home) as pool:
        pool.standing.result(60)
        yield pool


def test_many_small_files_are_read_by_processes_with_the_same_outcome(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files in their order, a broken one and a foreign one told of by themselves, whoever reads them."""
    monkeypatch.setattr(opened, "FEW_BYTES", 0)
    monkeypatch.setattr(opened, "process_pool", standing_pool)
    folder = tmp_path / "delivery"
    folder.mkdir()
    for number in range(14):
        rows = "".join(f"H{number}-{k},{462000 + k},{4190000 + number}\n" for k in range(20))
        (folder / f"{number:02}.csv").write_text("id,x,y\n" + rows + ("H3-0,462500,4190000\n" if number == 3 else ""))
    (folder / "05.csv").write_bytes(b"\xff\xfe\x00id,x\n\x81")
    (folder / "07.csv").write_text("id,x,y\nF,2600000,1200000\n")
    said = Declared(layer="hydrant", crs="EPSG:4547")
    outcomes = []
    for workers in (1, 2):
        made = make_store()
        store = replace(made, settings=replace(made.settings, workers=workers))
        report = ingest(store, [folder], said)
        with store.connect() as connection:
            kept = connection.execute("SELECT id, content, record FROM twin.hydrant ORDER BY id").fetchall()
        shown = [file.as_json() | {"seconds": 0} for file in report.files]
        outcomes.append((kept, shown))
    assert outcomes[0] == outcomes[1]
    kept, shown = outcomes[1]
    assert len(kept) == 12 * 20
    assert [file["path"][-6:] for file in shown if file.get("error")] == ["05.csv", "07.csv"]


def test_a_fault_in_a_process_is_told_of_its_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("id,x,y\n1,2,3\n")
    incoming = incoming_of(tmp_path / "a.csv", Declared())
    monkeypatch.setattr(opened, "tables", lambda *_, **__: 1 / 0)
    done = opened.read_whole(incoming)
    assert done.tables == []
    with pytest.raises(RuntimeError, match="ZeroDivisionError: division by zero"):
        list(opened._again(done))
