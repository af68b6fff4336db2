"""A city's own plane system by parameters: against the formulas written out, and against known points."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from cim.errors import BadSettings, UnknownCrs
from cim.reference.crs import WGS84, operation
from cim.reference.local_system import read_parameters
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest

GRID = CRS.from_epsg(4547)


def four(folder: Path, dx: float, dy: float, rotation_s: float, scale_ppm: float) -> CRS:
    path = folder / "local.toml"
    path.write_text(
        f'name = "独立坐标系"\nto = "EPSG:4547"\ndx = {dx!r}\ndy = {dy!r}\n'
        f"rotation_s = {rotation_s!r}\nscale_ppm = {scale_ppm!r}\n",
        "utf-8",
    )
    return read_parameters(path)


@given(
    st.floats(300_000, 700_000), st.floats(4_000_000, 4_300_000), st.floats(-36_000, 36_000), st.floats(-500, 500),
    st.floats(-80_000, 80_000), st.floats(-80_000, 80_000),
)  # fmt: skip
def test_four_parameters_are_the_formula(
    tmp_path_factory: pytest.TempPathFactory, dx: float, dy: float, turn_s: float, ppm: float, x: float, y: float
) -> None:
    crs = four(tmp_path_factory.mktemp("p"), dx, dy, turn_s, ppm)
    turn, k = np.radians(turn_s / 3600), 1 + ppm * 1e-6
    truth = dx + k * (x * np.cos(turn) - y * np.sin(turn)), dy + k * (x * np.sin(turn) + y * np.cos(turn))
    east, north = operation(crs, GRID)(np.array([x]), np.array([y]))
    assert (east[0], north[0]) == (pytest.approx(truth[0], abs=1e-3), pytest.approx(truth[1], abs=1e-3))
    back = Transformer.from_crs(GRID, crs, always_xy=True).transform(east[0], north[0])
    assert back == (pytest.approx(x, abs=1e-3), pytest.approx(y, abs=1e-3))


def bursa(xyz: np.ndarray, d: tuple[float, float, float], r: tuple[float, float, float], ppm: float) -> np.ndarray:
    """Bursa-Wolf with position vector rotation, EPSG Guidance Note 7-2, 4.3.3."""
    rx, ry, rz = np.radians(np.array(r) / 3600)
    turn = np.array([[1, -rz, ry], [rz, 1, -rx], [-ry, rx, 1]])
    return np.array(d) + (1 + ppm * 1e-6) * turn @ xyz


@pytest.mark.parametrize(("convention", "sign"), [("position vector", 1.0), ("coordinate frame", -1.0)])
def test_seven_parameters_are_the_formula(tmp_path: Path, convention: str, sign: float) -> None:
    d, r, ppm = (15.8, -154.4, -82.3), (0.31, -0.22, 1.05), -1.7
    (tmp_path / "p.toml").write_text(
        f'from = "EPSG:4214"\ndx = {d[0]}\ndy = {d[1]}\ndz = {d[2]}\nrx = {r[0]}\nry = {r[1]}\nrz = {r[2]}\n'
        f'scale_ppm = {ppm}\nconvention = "{convention}"\n',
        "utf-8",
    )
    crs = read_parameters(tmp_path / "p.toml")
    lon, lat = operation(crs, WGS84)(np.array([113.58]), np.array([37.86]))
    krassovsky = CRS.from_proj4("+proj=geocent +ellps=krass")
    old = Transformer.from_crs(CRS.from_proj4("+proj=latlong +ellps=krass"), krassovsky, always_xy=True)
    xyz = np.array(old.transform(113.58, 37.86, 0.0))
    new = bursa(xyz, d, tuple(sign * angle for angle in r), ppm)  # type: ignore[arg-type]
    truth = Transformer.from_crs(4978, 4979, always_xy=True).transform(*new)
    assert (lon[0], lat[0]) == (pytest.approx(truth[0], abs=2e-9), pytest.approx(truth[1], abs=2e-9))


def test_a_drawing_in_a_local_system_lands_in_the_city(store: Store, tmp_path: Path) -> None:
    crs = four(tmp_path, 480_000.0, 4_150_000.0, 1800.0, 12.0)
    there = np.array([[500_000.0, 4_190_000.0], [500_100.0, 4_190_050.0]])
    local = np.column_stack(Transformer.from_crs(GRID, crs, always_xy=True).transform(*there.T))
    assert np.abs(local).max() < 60_000
    lines = ["id,x,y", *(f"{name},{x:.4f},{y:.4f}" for name, (x, y) in zip("ab", local, strict=True))]
    (tmp_path / "hydrant.csv").write_text("\n".join(lines), "utf-8")
    report = ingest(store, [tmp_path / "hydrant.csv"], Declared(crs=str(tmp_path / "local.toml")))
    assert report.exit_code == 0, report.summary()
    assert report.files[0].crs == "独立坐标系"
    assert "独立坐标系" in (report.files[0].operation or "")
    with store.connect() as connection:
        rows = connection.execute("SELECT ST_X(geom), ST_Y(geom) FROM twin.hydrant ORDER BY id").fetchall()
    assert np.abs(np.array(rows) - there).max() < 1e-3


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("to = 3", BadSettings), ("", BadSettings), ("dx = 1\nto = ", BadSettings),
        ('to = "EPSG:4326"\ndx = 1.0\ndy = 2.0', UnknownCrs),
        ('to = "EPSG:4547"\ndx = 1.0\ndy = 2.0\nspin = 3', BadSettings),
        ('from = "EPSG:4214"\ndx = 1\ndy = 2\ndz = 3', BadSettings),
        ('to = "nonsense"\ndx = 1.0\ndy = 2.0', UnknownCrs),
    ],
)  # fmt: skip
def test_what_is_no_parameters_is_said(tmp_path: Path, text: str, error: type[Exception]) -> None:
    (tmp_path / "p.toml").write_text(text, "utf-8")
    with pytest.raises(error):
        read_parameters(tmp_path / "p.toml")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="No such file"):
        read_parameters(tmp_path / "p.toml")
