"""Rasters, clouds and sets of one file name: at the same place the newer version, elsewhere another; none is lost."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.transform import Affine

from cim.loads.undo import undo
from cim.read.terrain import ground_of
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.delivery.report import FileReport, LoadReport
from ingest.load.pipeline import ingest
from tests.factory import EAST, NORTH
from tests.ingest.test_pointcloud import write_cloud
from tests.ingest.test_tileset import write_set
from tiles.tilers import run

SIDE_M = 200.0  # of a sheet
TO_DEGREES = Transformer.from_crs(4547, 4490, always_xy=True)


@dataclass(frozen=True)
class Place:
    """Where a second sheet lies from the first: its lower left corner, in metres."""

    east: float
    north: float


SAME, OVERLAPPING, FAR = Place(0, 0), Place(30, 20), Place(5000, 4000)
PLACES = {"same": SAME, "overlapping": OVERLAPPING, "far": FAR}


def write_raster(folder: Path, at: Place, edition: int) -> Path:
    """Heights of a plane that each edition raises by 10 m."""
    folder.mkdir(parents=True, exist_ok=True)
    transform = Affine.translation(EAST + at.east, NORTH + at.north + SIDE_M) @ Affine.scale(10, -10)
    profile = {"driver": "GTiff", "height": 20, "width": 20, "count": 1, "dtype": "float32", "crs": "EPSG:4547"}
    with rasterio.open(folder / "dem.tif", "w", transform=transform, **profile) as file:
        file.write(np.full((20, 20), 700.0 + 10 * edition, np.float32), 1)
    return folder / "dem.tif"


def write_points(folder: Path, at: Place, edition: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    xy = np.random.default_rng(1).uniform(0, SIDE_M, (500, 2))
    xy[:2] = (0, 0), (SIDE_M, SIDE_M)
    xyz = np.c_[np.add(xy, (EAST + at.east, NORTH + at.north)), np.full(500, 700.0 + 10 * edition)]
    return write_cloud(folder / "cloud.las", np.round(xyz, 3))


def write_tiles(folder: Path, at: Place, edition: int) -> Path:
    """A set that has no place of its own, with its anchor beside it: only that tells two of them apart."""
    write_set(folder / "set", transform=False)
    lon, lat = TO_DEGREES.transform(EAST + at.east, NORTH + at.north)
    (folder / "set" / "dataset.toml").write_text(f"anchor = [{lon}, {lat}, {700 + 10 * edition}]\n", "utf-8")
    return folder / "set" / "tileset.json"


@dataclass(frozen=True)
class Kind:
    """A kind of sheet: its layer, the name that its files give it, and how one is written."""

    layer: str
    name: str
    write: Callable[[Path, Place, int], Path]


KINDS = (
    Kind("terrain", "dem", write_raster),
    Kind("point_cloud", "cloud", write_points),
    Kind("reality_mesh", "set", write_tiles),
)


def load(store: Store, *paths: Path, **said: Any) -> LoadReport:
    report = ingest(store, list(paths), Declared.model_validate({"vertical_datum": "city"} | said))
    assert report.exit_code == 0, report.summary()
    return report


def outcome(file: FileReport) -> str:
    """Whether a sheet is new, a new version or known."""
    (said,) = [name for name in ("loaded", "updated", "unchanged") if getattr(file, name)]
    return said


def rows(store: Store, kind: Kind, condition: str = "upper_inf(valid)") -> list[tuple[Any, ...]]:
    with store.connect() as connection:
        return connection.execute(
            f"""SELECT id, about->>'name', round(ST_XMin(footprint)), lower(valid), upper(valid) FROM cim.asset
                WHERE layer = %s AND upper_inf(recorded) AND {condition} ORDER BY id, valid""".encode(),
            [kind.layer],
        ).fetchall()


def ids(store: Store, kind: Kind) -> list[str]:
    return [row[0] for row in rows(store, kind)]


def shown(store: Store, kind: Kind, at: Place, height: float) -> bool:
    """Whether what people see has a sheet of that height at a place: the ground, or the boxes of the tiles."""
    if kind.layer == "terrain":
        x, y = np.array([EAST + at.east + SIDE_M / 2]), np.array([NORTH + at.north + SIDE_M / 2])
        with store.connect() as connection, connection.cursor() as cursor:
            return bool(ground_of(cursor, store)(x, y)[0] == height)
    list(run(store, [kind.layer]))
    with store.connect() as connection:
        root = connection.execute(
            "SELECT name FROM cim.tile_root WHERE layer = %s AND valid @> now()", [kind.layer]
        ).fetchone()
    document = json.loads((store.settings.tile_store / kind.layer / "tileset" / (root or ("",))[0]).read_text("utf-8"))
    lon, lat = np.radians(TO_DEGREES.transform(EAST + at.east + 5, NORTH + at.north + 5))
    regions = [tile["boundingVolume"]["region"] for tile in document["root"].get("children", [])]
    return any(
        w - 1e-6 <= lon <= e + 1e-6 and s - 1e-6 <= lat <= n + 1e-6 and low - 20 <= height - 15.1 <= high + 20
        for w, s, e, n, low, high in regions
    )


CASES = [
    pytest.param(kind, place, one_call, id=f"{kind.layer}-{name}-{'one call' if one_call else 'two calls'}")
    for kind in KINDS
    for name, place in PLACES.items()
    for one_call in (True, False)
]


@pytest.mark.parametrize(("kind", "place", "one_call"), CASES)
def test_a_name_is_known_again_at_its_place_only(
    store: Store, tmp_path: Path, kind: Kind, place: Place, one_call: bool
) -> None:
    first, second = kind.write(tmp_path / "a", SAME, 0), kind.write(tmp_path / "b", place, 1)
    files = load(store, tmp_path).files if one_call else [load(store, path).files[0] for path in (first, second)]
    another = one_call or place is FAR  # of two that come together neither is the newer
    assert [outcome(file) for file in files] == ["loaded", "loaded" if another else "updated"]
    (named, *others) = ids(store, kind)
    assert (named, len(others)) == (kind.name, 1 if another else 0)
    warned = "another of this name is there, elsewhere or of this call: this one has its own id"
    assert [file.warned.get(warned, []) for file in files] == [[], others]
    assert (rows(store, kind)[-1][1] == kind.name) == another
    assert shown(store, kind, place, 710.0) or (one_call and place is SAME)
    if place is FAR:
        assert shown(store, kind, SAME, 700.0)
        assert not shown(store, kind, Place(2500, 2000), 700.0)

    # the same again is known, alone and together; changed, each is the next version of the one at its place
    assert [outcome(load(store, path).files[0]) for path in ((first, second) if another else (second,))] == [
        "unchanged"
    ] * (2 if another else 1)
    before = rows(store, kind)
    for edition, (folder, at) in enumerate((("b", place), ("a", SAME)) if another else (("b", place),), 2):
        path = kind.write(tmp_path / f"again{edition}" / folder, at, edition)
        assert outcome(load(store, path).files[0]) == "updated"
        assert rows(store, kind) == before
        assert shown(store, kind, at, 700.0 + 10 * edition) or (one_call and place is not FAR)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.layer)
def test_all_that_lies_apart_under_one_name_is_kept(store: Store, tmp_path: Path, kind: Kind) -> None:
    """Whatever the order of its sheets, the next delivery of all is known, and an undo of one leaves the others."""
    places = [Place(1000.0 * k, 700.0 * (k % 2)) for k in range(4)]
    for k, place in enumerate(places):
        kind.write(tmp_path / f"sheet {k}", place, 0)
    report = load(store, tmp_path)
    assert len(ids(store, kind)) == len(places)
    assert len(set(ids(store, kind))) == len(places)
    kept = rows(store, kind)
    for k, place in enumerate(reversed(places)):
        kind.write(tmp_path / "later" / str(k), place, 1)
    again = load(store, tmp_path / "later")
    assert [outcome(file) for file in again.files] == ["updated"] * len(places)
    assert rows(store, kind) == kept
    with store.connect() as connection, connection.cursor() as cursor:
        undo(cursor, store, again.load or 0)
    assert rows(store, kind) == kept
    assert [outcome(file) for file in load(store, tmp_path / "sheet 2").files] == ["unchanged"]
    assert report.load


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.layer)
@pytest.mark.parametrize("years", [(2020, 2023), (2023, 2020)], ids=["in order", "the older later"])
@pytest.mark.parametrize("one_call", [True, False], ids=["one call", "two calls"])
def test_each_date_has_its_version(
    store: Store, tmp_path: Path, kind: Kind, years: tuple[int, int], one_call: bool
) -> None:
    for k, year in enumerate(years):
        path = kind.write(tmp_path / str(k), SAME, year - 2020)
        with (path.parent / "dataset.toml").open("a", encoding="utf-8") as beside:
            beside.write(f"date = {year}-01-01\n")
    for folder in [tmp_path] if one_call else [tmp_path / "0", tmp_path / "1"]:
        load(store, folder)
    moments = [store.city.clock.begins(date(year, 1, 1)) for year in sorted(years)]
    assert [row[3:] for row in rows(store, kind, "true")] == [(moments[0], moments[1]), (moments[1], None)]
    assert ids(store, kind) == [kind.name]
    assert [outcome(file) for file in load(store, tmp_path).files] == ["unchanged", "unchanged"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.layer)
def test_a_correction_without_a_date_keeps_the_time_of_what_it_corrects(
    store: Store, tmp_path: Path, kind: Kind
) -> None:
    load(store, kind.write(tmp_path / "a", SAME, 0), date=date(2023, 1, 1))
    load(store, kind.write(tmp_path / "b", SAME, 1))
    assert [row[3:] for row in rows(store, kind, "true")] == [(store.city.clock.begins(date(2023, 1, 1)), None)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.layer)
def test_what_a_new_version_leaves_out_is_said(store: Store, tmp_path: Path, kind: Kind) -> None:
    load(store, kind.write(tmp_path / "a", SAME, 0), **({} if kind.name == "set" else {"dataset": "survey"}))
    (file,) = load(store, kind.write(tmp_path / "b", Place(30, 0), 1)).files
    farther = "the version before reaches farther: what lies beyond this one is no longer shown"
    taken_over = "id belonged to another dataset, at the same place: a new version"
    assert file.warned[farther] == [kind.name]
    assert file.warned.get(taken_over, []) == ([] if kind.name == "set" else [kind.name])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.layer)
def test_a_prefix_tells_two_at_one_place_apart(store: Store, tmp_path: Path, kind: Kind) -> None:
    load(store, kind.write(tmp_path / "a", SAME, 0))
    assert outcome(load(store, kind.write(tmp_path / "b", SAME, 1), id_prefix="winter-").files[0]) == "loaded"
    assert ids(store, kind) == sorted([kind.name, f"winter-{kind.name}"])


def test_an_id_that_another_file_is_called_by_is_not_taken(store: Store, tmp_path: Path) -> None:
    """A file that has for its name what would be the id of the second of a name."""
    kind = KINDS[0]
    load(store, kind.write(tmp_path / "a", SAME, 0))
    x, y = EAST + FAR.east + SIDE_M / 2, NORTH + FAR.north + SIDE_M / 2
    odd = kind.write(tmp_path / "odd", Place(9000, 0), 0).rename(tmp_path / "odd" / f"dem_{x:.0f}_{y:.0f}.tif")
    load(store, odd)
    load(store, kind.write(tmp_path / "b", FAR, 1))
    assert len(ids(store, kind)) == 3
    assert outcome(load(store, kind.write(tmp_path / "c", FAR, 2)).files[0]) == "updated"
    assert len(ids(store, kind)) == 3
