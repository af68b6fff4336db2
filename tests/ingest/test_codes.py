"""The law of codes: a value that a code list doesn't have is flagged or refused, and counted; no door loses it.

Every layer with code lists, through every door, with values that lists have in any spelling and some that they don't.
"""

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest
import yaml
from shapely.geometry import LineString, MultiPolygon, Point, box, mapping

from cim.access.asker import Asker
from cim.catalog.model import Code, CodeList, Layer, LayerField
from cim.catalog.read import read_catalog
from cim.city import YANGQUAN, City
from cim.config import Settings
from cim.errors import BadRequest
from cim.messages import tell
from cim.read.layer_summary import unknown_codes
from cim.store import cluster
from cim.store.connection import Store, connect, open_store
from ingest.delivery.declared import Declared
from ingest.load.columns import convert
from ingest.load.edit import Edit, apply_edit
from ingest.load.pipeline import ingest
from ingest.load.prepare import UNKNOWN_CODE as FLAG
from ingest.sources.feeds import run_due
from tests.conftest import MakeStore

Json = dict[str, Any]
CODED = [layer for layer in read_catalog().of_kind("feature") if any(f.codes for f in layer.fields)]
RECORDS = 12
LON, LAT = 113.58, 37.86


def fields_of(store: Store, layer: Layer) -> list[tuple[LayerField, CodeList]]:
    return list(store.catalog.coded_fields(layer))


def geometry(layer: Layer, place: int) -> Json:
    x, y = LON + place % 6 * 1e-3, LAT + place // 6 * 1e-3
    shapes = {
        "Point": Point(x, y),
        "MultiLineString": LineString([(x, y), (x + 4e-4, y)]),
        "MultiPolygon": MultiPolygon([box(x, y, x + 2e-4, y + 2e-4)]),
    }
    return dict(mapping(shapes[layer.geometry or "Point"]))


def listed(codes: CodeList, rng: random.Random) -> str:
    code: Code = rng.choice(codes.codes)
    spelling = rng.choice([code.value, code.title.zh, code.title.en, *code.aliases])
    return rng.choice([spelling, spelling.upper()])


def unlisted(codes: CodeList, rng: random.Random) -> str | int:
    values: list[str | int] = ["9998", 9998, "没有的", f" {codes.codes[0].value}x ", "'); DROP TABLE x; --"]
    return rng.choice(values)


def records(store: Store, layer: Layer, rng: random.Random) -> list[Json]:
    """Records of a layer, about half of them with a code that its list doesn't have."""
    made = []
    for n in range(RECORDS):
        properties: Json = {"id": f"r{n}"}
        for field, codes in fields_of(store, layer):
            value = rng.choice([listed, unlisted, lambda *_: None])(codes, rng)
            properties[rng.choice([field.name, *field.aliases])] = value
        made.append({"type": "Feature", "id": f"r{n}", "properties": properties, "geometry": geometry(layer, n)})
    return made


def of_unlisted(store: Store, layer: Layer, feature: Json) -> Json:
    """What a record says in fields whose lists don't have it."""
    said = {}
    for name, value in feature["properties"].items():
        field = layer.field_by_alias.get(name)
        codes = store.catalog.codes(field) if field else None
        if field and codes and value is not None:
            text = str(value).strip()
            if text.casefold() not in codes.by_alias:
                said[field.name] = text
    return said


def stored(store: Store, layer: Layer) -> dict[str, tuple[Json, list[str]]]:
    names = [f.name for f, _ in fields_of(store, layer)]
    columns = ", ".join(f'"{name}"' for name in names)
    with store.connect() as connection:
        rows = connection.execute(
            f'SELECT id, flags, {columns} FROM twin."{layer.id}" WHERE upper_inf(recorded)'.encode()
        ).fetchall()
    return {row[0]: (dict(zip(names, row[2:], strict=True)), row[1] or []) for row in rows}


def in_tree(store: Store, layer: Layer) -> Counter[tuple[str, str]]:
    with store.connect() as connection, connection.cursor() as cursor:
        shown = unknown_codes(cursor, store.catalog, [layer])
    return Counter({(field, value): count for field, value, count in shown.get(layer.id, [])})


def by_files(store: Store, layer: Layer, features: list[Json], folder: Path) -> Counter[str]:
    """Deliver records as a file; return how many the report counts, by sentence."""
    path = folder / f"{layer.id}.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
    report = ingest(store, [path], Declared(dataset="d", layer=layer.id))
    return Counter(report.files[0].reasons) + Counter({s: len(ids) for s, ids in report.files[0].warned.items()})


def by_feed(store: Store, layer: Layer, features: list[Json], folder: Path) -> Counter[str]:
    (folder / "in.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
    feeds = folder / "feeds.toml"
    feeds.write_text(f'[{layer.id}]\nevery = "1h"\nsource = "in.geojson"\nlayer = "{layer.id}"\n', "utf-8")
    run_due(store, feeds)
    with store.connect() as connection:
        (load,) = connection.execute("SELECT report FROM cim.load ORDER BY load DESC LIMIT 1").fetchone() or ({},)
    (file,) = tell(load, "en")["files"]
    return Counter(file["reasons"]) + Counter({w["warning"]: w["count"] for w in file["warnings"]})


def by_edits(store: Store, layer: Layer, features: list[Json], folder: Path) -> Counter[str]:
    counted: Counter[str] = Counter()
    with store.connect() as connection, connection.cursor() as cursor:
        for feature in features:
            try:
                edited = apply_edit(cursor, store, Edit(layer, feature["id"], "create", feature), Asker("e", "editor"))
                counted.update(edited.warnings)
                connection.commit()
            except BadRequest as refusal:
                counted[str(refusal).partition(": ")[2]] += 1
                connection.rollback()
    return counted


Door = Callable[[Store, Layer, list[Json], Path], Counter[str]]


def named(case: Layer | Door) -> str:
    return case.id if isinstance(case, Layer) else case.__name__


@pytest.fixture(scope="module")
def make_shared(
    private_cluster: cluster.Cluster,
    template_database: Callable[[City], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[City], Store]]:
    """Make stores that the tests of this module share."""
    with ExitStack() as stack:

        def make(city: City) -> Store:
            folder = tmp_path_factory.mktemp("codes")
            name, template = f"{folder.name}_{os.getpid()}", template_database(city)
            with connect(private_cluster.url("postgres", "postgres"), autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{name}" TEMPLATE {template}'.encode())
            settings = Settings(state=folder, database_url=private_cluster.url("postgres", name))
            return stack.enter_context(open_store(settings))

        yield make


@pytest.fixture(scope="module")
def shared(make_shared: Callable[[City], Store]) -> Store:
    """A city of our catalog."""
    return make_shared(YANGQUAN)


@pytest.fixture(scope="module")
def closed(make_shared: Callable[[City], Store], tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A city whose code lists take no other values."""
    folder = tmp_path_factory.mktemp("closed")
    lists = [codes.model_dump(mode="json") | {"closed": True} for codes in read_catalog().code_lists.values()]
    (folder / "lists.yaml").write_text(yaml.safe_dump({"code_lists": lists}), "utf-8")
    return make_shared(YANGQUAN.model_copy(update={"catalog": folder}))


def clear(store: Store, layer: Layer) -> None:
    with store.connect() as connection:
        connection.execute(f'DELETE FROM twin."{layer.id}"'.encode())


@pytest.mark.parametrize(
    ("layer", "door"), [*product(CODED, (by_files, by_edits)), *product(CODED[:2], (by_feed,))], ids=named
)
def test_an_unknown_code_is_kept_flagged_counted_and_in_the_tree(
    shared: Store, layer: Layer, door: Door, tmp_path: Path
) -> None:
    features = records(shared, layer, random.Random(f"{layer.id} {door.__name__}"))
    unknown = {feature["id"]: of_unlisted(shared, layer, feature) for feature in features}
    assert any(unknown.values())
    clear(shared, layer)
    counted = door(shared, layer, features, tmp_path)
    rows = stored(shared, layer)
    assert set(rows) == set(unknown), "none is lost"
    for identifier, (values, flags) in rows.items():
        assert (FLAG in flags) == bool(unknown[identifier])
        assert {name: values[name] for name in unknown[identifier]} == unknown[identifier]
    by_field = Counter(name for said in unknown.values() for name in said)
    assert {s.partition(":")[0]: n for s, n in counted.items() if "code list" in s} == dict(by_field)
    assert in_tree(shared, layer) == Counter(item for said in unknown.values() for item in said.items())


@pytest.mark.parametrize(("layer", "door"), [*zip(CODED, cycle((by_files, by_feed, by_edits)))], ids=named)
def test_a_closed_list_refuses_and_counts(closed: Store, layer: Layer, door: Door, tmp_path: Path) -> None:
    layer = closed.catalog.layers[layer.id]
    features = records(closed, layer, random.Random(f"{layer.id} {door.__name__}"))
    refused = {feature["id"] for feature in features if of_unlisted(closed, layer, feature)}
    clear(closed, layer)
    counted = door(closed, layer, features, tmp_path)
    assert set(stored(closed, layer)) == {feature["id"] for feature in features} - refused
    assert sum(n for sentence, n in counted.items() if "which is closed" in sentence) == len(refused)
    assert not in_tree(closed, layer)


@pytest.mark.parametrize("layer", CODED, ids=lambda layer: layer.id)
def test_the_flag_follows_edits(shared: Store, layer: Layer, tmp_path: Path) -> None:
    rng = random.Random(layer.id)
    field, codes = rng.choice(fields_of(shared, layer))
    clear(shared, layer)
    for n in range(4):
        value = listed(codes, rng) if n % 2 else f"{unlisted(codes, rng)}{n}"
        feature = {"type": "Feature", "id": "x", "properties": {field.name: value}, "geometry": geometry(layer, 0)}
        with shared.connect() as connection, connection.cursor() as cursor:
            edited = apply_edit(cursor, shared, Edit(layer, "x", "replace", feature), Asker("e", "editor"))
            connection.commit()
        ((values, flags),) = stored(shared, layer).values()
        assert (FLAG in flags) == (n % 2 == 0) == any("code list" in warning for warning in edited.warnings)
        assert values[field.name] == convert(value.strip(), field, shared.catalog)


def test_a_list_of_values_is_no_code(shared: Store) -> None:
    for layer in CODED:
        for field, _ in fields_of(shared, layer):
            assert convert(["9998"], field, shared.catalog) is None
            assert convert({"a": 1}, field, shared.catalog) is None


def test_observations_keep_the_law(make_store: MakeStore, tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    folder.mkdir()
    (folder / "status.yaml").write_text(STATUS, "utf-8")
    store = make_store(YANGQUAN.model_copy(update={"catalog": folder}))
    times = [f"2024-01-01T0{n}:00:00Z" for n in range(4)]
    values = ("开,a", "9998,甲", "shut,9998", "open,b")
    lines = [f"p1,{time},{value}" for time, value in zip(times, values, strict=True)]
    (tmp_path / "lamp_status.csv").write_text("\n".join(["feature,time,status,mode", *lines]), "utf-8")
    (file,) = ingest(store, [tmp_path / "lamp_status.csv"], Declared()).files
    assert (file.read, file.loaded, file.refused) == (4, 2, 2)
    assert [s for s in file.reasons if "mode: a value" in s]
    assert {s: len(ids) for s, ids in file.warned.items() if "status: a value" in s} == {
        "status: a value that its code list lamp doesn't have: kept, and flagged": 1
    }


STATUS = """
code_lists:
  - {id: lamp, title: {zh: 灯, en: Lamp}, source: own, codes: [{value: open, title: {zh: 开, en: Open}}]}
  - {id: mode, closed: true, title: {zh: 式, en: Mode}, source: own, codes: [{value: a, title: {zh: 甲, en: A}}]}
layers:
  - id: lamp_status
    kind: observation
    observes: component
    class_code: "0699"
    cim_level: 2
    title: {zh: 灯, en: Lamps}
    description: {zh: 灯, en: Lamps}
    fields:
      - {name: status, codes: lamp, title: {zh: 状态, en: Status}}
      - {name: mode, codes: mode, title: {zh: 模式, en: Mode}}
"""
