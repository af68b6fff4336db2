"""The recipes of docs/contributing that add to the program itself, followed in a copy of it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from tests.conftest import MakeStore, serving

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "docs/contributing/recipes.md"
VIEWER = Path("services/viewer")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "node_modules", "static", "*.egg-info")
PACKAGES = ("cim", "ingest", "tiles", "styles", "sample_data", "services")

# what the recipe changes: file → the line that is added, and the one that it is added before
A_KIND = {
    "cim/catalog/model.py": ('"photo", ', '"observation"]'),
    "cim/store/kinds.py": (
        '"photo": Kind(partial(schema.create_sheets, suffix=".jpg"), stored=False, counted=True),\n    ',
        '"observation": Kind(',
    ),
    "ingest/formats/readers.py": (
        'Reader("photo", (".jpg",), "ingest.formats.coverages.photo", kind="photo"),\n    ',
        'Reader("GeoTIFF"',
    ),
}
A_DRAWING = {
    "cim/store/kinds.py": (', "photos"', "]\n\n\n@dataclass"),
    "tiles/tilers.py": ('"photos": tile_sets,\n    ', '"sets": tile_sets'),
}
CATALOG = """
layers:
  - id: street_photo
    kind: photo
    class_code: "0598"
    cim_level: 2
    title: {zh: 街景照片, en: Street photos}
    description: {zh: 街道照片, en: Photos of streets}
"""
LOAD = """
import sys
from datetime import date
from pathlib import Path
from cim.city import YANGQUAN
from cim.config import read_settings
from cim.store.connection import initialise, open_store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest

settings = read_settings()
initialise(settings, YANGQUAN.model_copy(update={"catalog": Path(sys.argv[1])}))
with open_store(settings) as store:
    report = ingest(store, [Path(sys.argv[2])], Declared(anchor=(113.58, 37.86, 700.0), date=date(2024, 5, 1)))
    print(report.summary())
    sys.exit(report.exit_code)
"""


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A copy of the program."""
    folder = tmp_path / "copy"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=NOT_COPIED)
    return folder


def follow(scratch: Path, rows: Mapping[str, tuple[str, str]]) -> None:
    for file, (row, before) in rows.items():
        text = (scratch / file).read_text("utf-8")
        assert text.count(before) == 1, f"{file} has no one place for the row"
        (scratch / file).write_text(text.replace(before, row + before), "utf-8")


def test_a_kind_is_a_name_a_row_and_a_reader(scratch: Path, make_store: MakeStore, tmp_path: Path) -> None:
    follow(scratch, A_KIND)
    shutil.copy(ROOT / "tests/example/photo.py", scratch / "ingest/formats/coverages/photo.py")
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog/photo.yaml").write_text(CATALOG, "utf-8")
    (tmp_path / "corner.jpg").write_bytes(b"\xff\xd8 a street corner \xff\xd9")
    store = make_store()
    environment = os.environ | {
        "PYTHONPATH": str(scratch),
        "CIM_STATE": str(store.settings.state),
        "CIM_DATABASE_URL": store.url,
    }
    command = [sys.executable, "-c", LOAD, str(tmp_path / "catalog"), str(tmp_path / "corner.jpg")]
    loaded = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    with serving(environment, scratch) as url, httpx.Client(base_url=url, timeout=60) as client:
        for at, count in (("2023-01-01", 0), ("2025-01-01", 1)):
            tree = client.get("/viewer/catalog.json", params={"at": at}).json()["layers"]
            row = next(layer for layer in tree if layer["id"] == "street_photo")
            assert (row["kind"], row["counted"], row["count"], row["drawing"]) == ("photo", True, count, None)
        items = client.get("/ogc/collections/street_photo/items?f=json").json()["features"]
        assert [item["id"] for item in items] == ["corner"]


def test_a_way_of_drawing_is_a_row_each_side_and_the_compiler_asks_for_the_second(scratch: Path) -> None:
    if not (ROOT / VIEWER / "node_modules/typescript").is_dir():
        pytest.skip("the viewer's modules aren't installed: make viewer")
    follow(scratch, A_DRAWING)
    make_types = [sys.executable, "-m", "services.docs.viewer_types"]
    subprocess.run(make_types, cwd=scratch, env=os.environ | {"PYTHONPATH": str(scratch)}, check=True)
    (scratch / VIEWER / "node_modules").symlink_to(ROOT / VIEWER / "node_modules")
    compiler = [str(ROOT / "setup/node"), "node", "node_modules/typescript/bin/tsc", "--noEmit"]

    def faults() -> str:
        return subprocess.run(compiler, cwd=scratch / VIEWER, capture_output=True, text=True, check=False).stdout

    assert re.search(r"src/layers/index\.ts.*'photos' is missing", faults())
    index = scratch / VIEWER / "src/layers/index.ts"
    text = index.read_text("utf-8")
    index.write_text(text.replace("cloud, sets };", "cloud, sets, photos: sets };"), "utf-8")
    assert faults() == ""


def test_what_the_recipes_show_is_what_is_executed() -> None:
    text = RECIPES.read_text("utf-8")
    tool = (ROOT / VIEWER / "tests/example/latitude.ts").read_text("utf-8")
    shown = re.findall(r"^```typescript\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert shown == [tool.replace("../../src/tools/tool", "./tool").replace("../../src/", "../")]
    for row, _ in (*A_KIND.values(), *A_DRAWING.values()):
        assert row.strip(" ,\n") in text, f"the recipe doesn't show {json.dumps(row)}"
