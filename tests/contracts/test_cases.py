"""Small inputs on which other tools were reported to fail, with the right answers; those whose reader is here."""

import json
import os
import shlex
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import laspy
import numpy as np
import pytest
import shapely
from pyproj import Transformer

from cim.analysis.engine.registry import analyses
from cim.city import YANGQUAN, read_city
from cim.geometry.body_batch import CLASS_INDEX, Bodies
from cim.geometry.measures import surface_classes
from cim.geometry.stored_form import decode
from cim.read.terrain import heights, surfaces
from cim.store.connection import Store
from tests.conftest import MakeStore, serving
from tests.program import cim_command
from tiles.check import check_tileset

FOLDER = Path(os.environ.get("CIM_TEST_CASES", Path(__file__).parents[3] / "shared" / "cases")).resolve()
CASES: list[dict[str, Any]] = []
if (FOLDER / "cases.json").exists():
    CASES = json.loads((FOLDER / "cases.json").read_text("utf-8"))["cases"]
NO_ANALYSIS_YET = {"route", "viewshed", "cells_split"}
# a value under the product's own name: turnover counts the vehicles that were there at the beginning too
ALSO_CALLED = {
    "turnover_per_space_day_of_vehicles": "turnover_per_space_day",
    "turnover_per_space_day_of_entries": "entries_per_space_day",
}


@dataclass
class Ran:
    """One case as far as it went."""

    store: Store
    environment: dict[str, str]
    stack: ExitStack
    printed: str = ""
    report: dict[str, Any] | None = None

    def cim(self, command: str, report: Path | None = None) -> int:
        words = shlex.split(command.removeprefix("cim "))
        extra = ["--report", str(report)] if report else []
        done = cim_command([*words, *extra], self.environment, FOLDER)
        self.printed = done.stdout + done.stderr
        if report and report.exists():
            self.report = json.loads(report.read_text("utf-8"))
            self.printed += report.read_text("utf-8")
        assert "Traceback" not in self.printed
        return done.returncode

    @cached_property
    def url(self) -> str:
        """The address of a server of the case's city, which runs until the case ends."""
        return self.stack.enter_context(serving(self.environment))

    def rows(self, layer: str) -> list[dict[str, Any]]:
        with self.store.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f'SELECT *, ST_AsBinary(geom) AS wkb FROM twin."{layer}" WHERE upper_inf(recorded)')
            names = [d.name for d in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def picked(self, check: dict[str, Any]) -> dict[str, Any]:
        pick = check["pick"]
        for row in self.rows(check["layer"]):
            values = [
                v for v in (*row.values(), *(row["extra"] or {}).values()) if not isinstance(v, bytes | list | dict)
            ]
            if row["id"] == pick.get("id") or ("value" in pick and pick["value"] in values):
                return row
        raise AssertionError(f"nothing picked by {pick}")

    def body(self, row: dict[str, Any]) -> tuple[Bodies, bool]:
        with self.store.connect() as connection:
            found = connection.execute(
                "SELECT faces, closed FROM cim.body WHERE hash = %s", [row["bodies"][-1]]
            ).fetchone()
        assert found
        return decode([found[0]]), found[1]


@pytest.mark.parametrize("case", CASES, ids=[c["id"] for c in CASES])
def test_case(case: dict[str, Any], make_store: MakeStore, tmp_path: Path) -> None:
    _skip_what_is_not_here(case)
    setup = list(case.get("setup", ()))
    city = YANGQUAN
    if setup and setup[0].startswith("cim init --city"):
        city = read_city(FOLDER / setup.pop(0).split()[-1])
    store = make_store(city)
    environment = os.environ | {"CIM_STATE": str(store.settings.state), "CIM_DATABASE_URL": store.url}
    with ExitStack() as stack:
        ran = Ran(store, environment, stack)
        for command in setup:
            assert ran.cim(command) == 0, ran.printed
        _step(case, ran, tmp_path / "report.json")
        if "then" in case:
            _step(case["then"], ran, tmp_path / "then.json")


def _skip_what_is_not_here(case: dict[str, Any]) -> None:
    kinds = {c["kind"] for c in case["checks"]}
    unknown = {c["name"] for c in case["checks"] if c["kind"] == "analysis"} - set(analyses())
    if kinds & NO_ANALYSIS_YET or unknown:
        pytest.skip(f"no analysis or layer for {', '.join(sorted(kinds))} yet")


def _analysis(check: dict[str, Any], ran: Ran) -> None:
    files = {"sessions": next(FOLDER.glob("C77/sessions.csv"))}
    words = [f"--param {key}={f'@{files[key]}' if key in files else value}" for key, value in check["params"].items()]
    assert ran.cim(f"cim analyse {check['name']} {' '.join(words)}") == 0, ran.printed
    answer = json.loads(ran.printed)
    for name, value in check["expect"].items():
        found = answer[ALSO_CALLED.get(name, name)]
        assert found == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value), name


def _step(step: dict[str, Any], ran: Ran, report: Path) -> None:
    if step["command"] is None:
        for check in step["checks"]:
            CHECKS[check["kind"]](check, ran)
        return
    code = ran.cim(step["command"], report)
    expected = step["expect"]
    exits = expected["exit"] if isinstance(expected["exit"], list) else [expected["exit"]]
    assert code in exits, ran.printed
    file = ran.report["files"][-1] if ran.report else {}
    for counts in expected.get("any_of", [expected])[:1] if "any_of" not in expected else []:
        for name in ("read", "loaded", "refused"):
            if counts.get(name) is not None:
                total = sum(f[name] for f in (ran.report or {"files": []})["files"])
                assert total == counts[name], f"{name}: {ran.printed}"
    if expected.get("warnings_min"):
        assert len(file["warnings"]) >= expected["warnings_min"]
    printed = ran.printed
    for command in step.get("after", ()):
        assert ran.cim(command) == 0, ran.printed
    ran.printed = printed
    for check in step["checks"]:
        CHECKS[check["kind"]](check, ran)


def _vertex(check: dict[str, Any], ran: Ran) -> None:
    row = ran.picked(check)
    shape = shapely.from_wkb(row["wkb"])
    points = shapely.get_coordinates(shape, include_z=True)
    to_degrees = Transformer.from_crs(ran.store.city.srid, 4490, always_xy=True)
    lon, lat = to_degrees.transform(points[:, 0], points[:, 1])
    near = (np.abs(lon - check["lon"]) < check["tol_deg"]) & (np.abs(lat - check["lat"]) < check["tol_deg"])
    assert near.any(), (lon, lat)
    if "z" in check:
        assert np.abs(points[near, 2] - check["z"]).min() < check["tol_z"]


def _attr(check: dict[str, Any], ran: Ran) -> None:
    row = ran.picked(check)
    everything = row | (row["extra"] or {})
    found = [everything[name] for name in check["names"] if name in everything]
    accepted = check.get("equals_any", [check["equals"]])
    assert any(value in accepted for value in found) or (None in accepted and not found), found


def _area(check: dict[str, Any], ran: Ran) -> None:
    assert shapely.from_wkb(ran.picked(check)["wkb"]).area == pytest.approx(check["m2"], rel=check["tol_rel"])


def _solid(check: dict[str, Any], ran: Ran) -> None:
    body, is_closed = ran.body(ran.picked(check))
    tolerance = check.get("tol_z", 0.01)
    assert body.vertices[:, 2].min() == pytest.approx(check["z_min"], abs=tolerance)
    if "z_max" in check:
        assert body.vertices[:, 2].max() == pytest.approx(check["z_max"], abs=tolerance)
    if "volume" in check:
        from cim.geometry.measures import volumes

        assert volumes(body)[0] == pytest.approx(check["volume"], rel=1e-3)
    if "closed" in check:
        assert is_closed == check["closed"]


def _surface_area(check: dict[str, Any], ran: Ran) -> None:
    body, _ = ran.body(ran.picked(check))
    mine = surface_classes(body) == CLASS_INDEX[check["surface"]]
    assert np.linalg.norm(body.area_vectors[mine], axis=1).sum() == pytest.approx(check["m2"], rel=check["tol_rel"])


def _tile_area(check: dict[str, Any], ran: Ran) -> None:
    folder = ran.store.settings.tile_store / check["layer"]
    with ran.store.connect() as connection:
        row = connection.execute("SELECT name FROM cim.tile_root WHERE layer = %s", [check["layer"]]).fetchone()
    assert row
    total = 0.0
    for content in check_tileset(folder, row[0]).contents:
        for primitive in content.glb.primitives:
            if content.is_leaf and content.glb.material(primitive) == check["surface"]:
                corners = content.ecef(primitive)[content.glb.accessor(primitive["indices"]).astype(int).reshape(-1, 3)]
                cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
                total += float(np.linalg.norm(cross, axis=1).sum() / 2)
    assert total == pytest.approx(check["m2"], rel=check["tol_rel"])


def _ids(check: dict[str, Any], ran: Ran) -> None:
    assert sorted(row["id"] for row in ran.rows(check["layer"])) == sorted(check["equals"])


def _count(check: dict[str, Any], ran: Ran) -> None:
    assert len(ran.rows(check["layer"])) == check["n"]


def _message(check: dict[str, Any], ran: Ran) -> None:
    assert any(text.lower() in ran.printed.lower() for text in check["contains_any"]), ran.printed


def _report(check: dict[str, Any], ran: Ran) -> None:
    assert ran.report
    assert check["contains"] in str(ran.report["files"][-1][check["field"]])


def _height_at(check: dict[str, Any], ran: Ran) -> float:
    x, y = Transformer.from_crs(4490, ran.store.city.srid, always_xy=True).transform([check["lon"]], [check["lat"]])
    layer = ran.store.catalog.with_role("ground")
    assert layer
    with ran.store.connect() as connection, connection.cursor() as cursor:
        return float(heights(surfaces(cursor, ran.store, layer), np.array(x), np.array(y))[0])


def _terrain(check: dict[str, Any], ran: Ran) -> None:
    assert _height_at(check, ran) == pytest.approx(check["z"], abs=check["tol_z"])


def _terrain_nodata(check: dict[str, Any], ran: Ran) -> None:
    assert np.isnan(_height_at(check, ran))


def _terrain_range(check: dict[str, Any], ran: Ran) -> None:
    anomaly = ran.store.city.height_anomaly_m
    files = list((ran.store.settings.tile_store / "terrain" / "content").glob("*.terrain"))
    assert files
    for file in files:
        low, high = np.frombuffer(file.read_bytes()[24:32], "<f4")
        assert low - anomaly >= check["z_min"] - 0.1
        assert high - anomaly <= check["z_max"] + 0.1


def _http(check: dict[str, Any], ran: Ran) -> None:
    statuses = check["status"] if isinstance(check["status"], list) else [check["status"]]
    answer = httpx.get(ran.url + check["path"], timeout=30)
    assert answer.status_code in statuses, answer.text
    if "ids" in check and answer.status_code == 200:
        assert sorted(f["id"] for f in answer.json()["features"]) == sorted(check["ids"])
    assert check.get("raw_contains", "") in answer.text
    if "first_coordinate" in check:
        assert answer.json()["geometry"]["coordinates"][:2] == pytest.approx(
            check["first_coordinate"], abs=check["tol"]
        )


def _pages(check: dict[str, Any], ran: Ran) -> None:
    sizes, ids = [], set()
    url = ran.url + check["path"]
    while url:
        document = httpx.get(url, timeout=30).json()
        sizes.append(len(document["features"]))
        ids |= {f["id"] for f in document["features"]}
        url = next((link["href"] for link in document["links"] if link["rel"] == "next"), "")
    assert sizes == check["sizes"]
    assert len(ids) == check["total"]


def _points(check: dict[str, Any], ran: Ran) -> None:
    (layer,) = ran.store.catalog.of_kind("points")
    (row,) = ran.rows(layer.id)
    cloud = laspy.read(ran.store.settings.asset_store / row["content"].hex()[:2] / row["content"].hex())
    assert len(cloud.points) == check["n"]
    top = int(np.argmax(cloud.z))
    highest = check["highest"]
    to_degrees = Transformer.from_crs(ran.store.city.srid, 4490, always_xy=True)
    lon, lat = to_degrees.transform(np.array([cloud.x[top]]), np.array([cloud.y[top]]))
    assert (lon[0], lat[0]) == pytest.approx((highest["lon"], highest["lat"]), abs=highest["tol_deg"])
    assert cloud.z[top] == pytest.approx(highest["z"], abs=highest["tol_z"])


def _anywhere(check: dict[str, Any], ran: Ran) -> None:
    to_degrees = Transformer.from_crs(ran.store.city.srid, 4490, always_xy=True)
    for layer in ran.store.catalog.of_kind("feature"):
        for row in ran.rows(layer.id):
            if check["value"] not in row.values() or not row["bodies"]:
                continue
            body, _ = ran.body(row)
            lon, lat = to_degrees.transform(body.vertices[:, 0], body.vertices[:, 1])
            found = [(np.hypot(lon - v["lon"], lat - v["lat"]) < check["tol_deg"]).any() for v in check["vertices"]]
            z = body.vertices[:, 2]
            if all(found) and z.min() == pytest.approx(check["z_min"]) and z.max() == pytest.approx(check["z_max"]):
                return
    raise AssertionError(f"nothing with {check['value']} where it should be")


CHECKS: dict[str, Callable[[dict[str, Any], Ran], None]] = {
    "analysis": _analysis,
    "vertex": _vertex,
    "attr": _attr,
    "area": _area,
    "solid": _solid,
    "surface_area": _surface_area,
    "tile_area": _tile_area,
    "ids": _ids,
    "count": _count,
    "message": _message,
    "report": _report,
    "terrain": _terrain,
    "terrain_nodata": _terrain_nodata,
    "terrain_range": _terrain_range,
    "http": _http,
    "pages": _pages,
    "points": _points,
    "anywhere": _anywhere,
}
