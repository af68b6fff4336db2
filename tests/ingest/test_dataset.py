"""What stands beside the files: dataset.toml, --settings, a CRS file; and what another package brings."""

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cim.errors import BadSettings
from cim.store.connection import Store
from ingest.delivery.declared import Declared, read_dataset_file
from ingest.load.pipeline import ingest
from tests.conftest import DELFT, MakeStore
from tests.factory import EAST, NORTH

KIOSKS = """
layers:
  - id: kiosk
    kind: feature
    geometry: Point
    class_code: "0599"
    cim_level: 2
    title: {zh: 报刊亭, en: Kiosks}
    description: {zh: 报刊亭, en: Kiosks}
"""


def write(folder: Path, name: str = "things.geojson") -> Path:
    point = {"type": "Point", "coordinates": [EAST, NORTH]}
    feature = {"type": "Feature", "properties": {"nr": "H1", "wo": "桥头"}, "geometry": point}
    path = folder / name
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), "utf-8")
    return path


SAYS = """
dataset = "survey"
date = 2023-05-01
crs = "EPSG:4547"
[files."things*"]
layer = "hydrant"
columns = {nr = "id", wo = "name"}
"""


@pytest.mark.parametrize("beside", [True, False])
def test_a_dataset_file_beside_or_elsewhere_says_what_the_files_dont(
    store: Store, tmp_path: Path, beside: bool
) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    data.mkdir()
    elsewhere.mkdir()
    file = (data if beside else elsewhere) / "dataset.toml"
    file.write_text(SAYS, "utf-8")
    settings = None if beside else read_dataset_file(file)
    report = ingest(store, [write(data)], Declared(), settings)
    assert report.exit_code == 0, report.summary()
    with store.connect() as connection:
        row = connection.execute("SELECT id, name, dataset, lower(valid) FROM twin.hydrant").fetchone()
    assert row == ("H1", "桥头", "survey", store.city.clock.begins(dt.date(2023, 5, 1)))


def test_an_option_wins_over_the_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text(SAYS, "utf-8")
    assert ingest(store, [write(tmp_path)], Declared(dataset="mine")).exit_code == 0
    with store.connect() as connection:
        assert connection.execute("SELECT dataset FROM twin.hydrant").fetchone() == ("mine",)


def test_the_parameters_of_a_crs_may_stand_in_a_file(store: Store, tmp_path: Path) -> None:
    """Beijing 1954 has no operation in the registry; with the city's own three parameters it has one."""
    data = write(tmp_path)
    bare = Declared(layer="hydrant", crs="EPSG:2435")
    assert "a crs of WKT" in ingest(store, [data], bare).summary()
    parameters = tmp_path / "beijing.txt"
    parameters.write_text(
        "+proj=tmerc +lon_0=114 +x_0=500000 +ellps=krass +towgs84=15.8,-154.4,-82.3,0,0,0,0 +units=m +type=crs"
    )
    report = ingest(store, [data], Declared(layer="hydrant", crs=str(parameters)))
    assert report.exit_code == 0, report.summary()


@pytest.mark.parametrize(
    ("text", "says"), [("date = ", "dataset.toml: Invalid"), ('wrong = "x"', "wrong"), ('date = "soon"', "date")]
)
def test_a_dataset_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "dataset.toml"
    file.write_text(text)
    with pytest.raises(BadSettings, match=says):
        read_dataset_file(file)


KIOSK_READER = """
import numpy as np
import shapely
from pyproj import CRS

from cim.features import Features, Header, Refusal, Source
from ingest.formats.contract import Reader

READER = Reader("Kiosk", (".kiosk",), "kiosks")


def read(path, options):
    lines = [line.split(",") for line in path.read_text("utf-8").splitlines()]
    whole = [line for line in lines if len(line) == 3]
    yield Source(Header(crs=CRS("OGC:CRS84"), layer_hint="kiosk"), iter([Features(
        ids=[name for name, _, _ in whole],
        attributes=[{"owner": name} for name, _, _ in whole],
        geometry=shapely.points([[float(x), float(y)] for _, x, y in whole]),
        object_class=[None] * len(whole),
        parent_id=[None] * len(whole),
        refused=[Refusal(line[0], "no place") for line in lines if len(line) < 3],
    )]))
"""


def test_another_package_adds_a_layer_and_a_reader(make_store: MakeStore, tmp_path: Path) -> None:
    package = tmp_path / "kiosks"
    package.mkdir()
    (package / "__init__.py").write_text(KIOSK_READER)
    (package / "kiosk.yaml").write_text(KIOSKS, "utf-8")
    metadata = tmp_path / "kiosks-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: kiosks\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[cim.layers]\nkiosks = kiosks\n[cim.readers]\nkiosk = kiosks:READER\n")
    (tmp_path / "two.kiosk").write_text("老王,113.58,37.86\n小李,113.59,37.86\nnobody\n", "utf-8")
    store = make_store()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
        "CIM_STATE": str(store.settings.state),
        "CIM_DATABASE_URL": store.url,
    }

    def cim(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "services", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert cim("init").returncode == 0
    done = cim("ingest", str(tmp_path / "two.kiosk"))
    assert (done.returncode, "2 loaded" in done.stdout, "no place" in done.stdout) == (3, True, True), done.stdout
    with store.connect() as connection:
        assert connection.execute("SELECT extra->>'owner' FROM twin.kiosk ORDER BY 1").fetchall() == [
            ("小李",),
            ("老王",),
        ]


def test_a_datum_that_needs_a_grid_that_is_not_installed_is_refused_by_its_name(
    make_store: MakeStore, shared_data: Path
) -> None:
    """PROJ alone would shift NAP heights by zero, and say nothing."""
    city = DELFT.model_copy(update={"vertical_datum": "EPSG:5773"})
    report = ingest(make_store(city), [shared_data / "cityjson_delft3dbag/delft.json"], Declared())
    assert report.exit_code == 1
    assert "it needs the grid" in report.summary()


def test_a_dataset_file_holds_for_the_folders_below_it_until_another_one(store: Store, tmp_path: Path) -> None:
    delivery = tmp_path / "delivery"
    for name in ("a", "b", "b/c"):
        (delivery / name).mkdir(parents=True)
        (delivery / name / "hydrant.csv").write_text(f"id,x,y\n{name},462000,4190000\n", "utf-8")
    (tmp_path / "dataset.toml").write_text('layer = "manhole"\n', "utf-8")  # outside of what is loaded
    (delivery / "dataset.toml").write_text('crs = "EPSG:4547"\ndataset = "upper"\n', "utf-8")
    (delivery / "b" / "dataset.toml").write_text('crs = "EPSG:4547"\ndataset = "lower"\n', "utf-8")
    assert ingest(store, [delivery], Declared()).exit_code == 0
    with store.connect() as connection:
        found = connection.execute("SELECT id, dataset FROM twin.hydrant ORDER BY id").fetchall()
    assert found == [("a", "upper"), ("b", "lower"), ("b/c", "lower")]
