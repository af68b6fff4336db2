"""`cim reconstruct`: stored clouds become terrain and surface rasters, and the heights and roofs of buildings.

What comes out goes in as a load of its own: it is checked, dated and taken back like any other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.transform import from_origin
from rasterio.windows import Window

from cim.access.asker import COMMAND_LINE, Asker
from cim.catalog.model import Layer
from cim.concurrency.process_pool import in_order, process_pool
from cim.errors import NotFound
from cim.features import Features
from cim.geometry import extrusion, outlines
from cim.geometry.body_batch import concatenate, select
from cim.loads.load import DatasetNote
from cim.loads.load import load as begin_load
from cim.loads.quality import examine, keep_quality
from cim.messages import say
from cim.read.terrain import ground_of
from cim.reconstruction import blocks
from cim.reconstruction.blocks import Block, Box, Footprints, Measured, Worked
from cim.reconstruction.ground import Grid
from cim.store.assets import asset_path
from cim.store.connection import Cursor, Store
from cim.store.merge import Delivery, create_staging, merge, stage_records, store_bodies, take_turn_with_bodies
from cim.store.schema import box_text, table
from ingest.delivery.declared import Declared
from ingest.delivery.report import FileReport, LoadReport
from ingest.formats.contract import Incoming
from ingest.formats.coverages import geotiff as raster
from ingest.load.prepare import prepare

POINTS_A_BLOCK = 3_000_000
SMALLEST_BLOCK_M, LARGEST_BLOCK_M = 100.0, 2000.0
NOT_PUBLIC = "public, under a cloud that isn't: what the points say of it would be seen by everybody"
Progress = Callable[[float, str], None]


@dataclass
class Reconstructed:
    """What became of a reconstruction."""

    report: LoadReport
    buildings: int = 0  # that had no body of LoD2, and lie under the cloud
    measured: int = 0  # that have heights from points now
    modelled: int = 0  # that have roofs now
    rms_m: float = 0.0  # the median of theirs
    why: dict[str, int] = field(default_factory=dict)  # the others have none

    def summary(self) -> str:
        """Return what a person reads."""
        lines = [self.report.summary()]
        lines.append(
            f"buildings: {self.buildings} without roofs under the cloud; {self.measured} measured, {self.modelled} with"
            f" roofs (LoD2), median error {self.rms_m:.2f} m"
        )
        lines += [f"  {count}: {why}" for why, count in sorted(self.why.items(), key=lambda item: -item[1])]
        return "\n".join(lines)


@dataclass(frozen=True)
class Cloud:
    """A stored cloud."""

    id: str
    path: Path
    dataset: str
    since: datetime | None
    points: int
    public: bool
    box: Box


def reconstruct(
    store: Store,
    names: Sequence[str] = (),
    cell_m: float = 1.0,
    progress: Progress = lambda *_: None,
    asker: Asker = COMMAND_LINE,
) -> Reconstructed:
    """Make rasters, heights and roofs of stored clouds, in one load.

    What comes of a cloud that isn't public isn't either; buildings that are public stay as they are then.

    Args:
        store: the city.
        names: ids of the clouds; none: all that hold now.
        cell_m: width of the rasters' cells.
        progress: is told the share that is done, and what is being done.
        asker: on whose behalf.

    Raises:
        NotFound: there is no such cloud.

    """
    roles = (store.catalog.with_role(role) for role in ("ground", "surface", "buildings"))
    with (
        TemporaryDirectory() as scratch,
        store.connect() as connection,
        connection.cursor() as cursor,
        begin_load(cursor, asker, "reconstruct", [layer.id for layer in roles if layer]) as load,
    ):
        clouds = _clouds(cursor, store, names)
        buildings = store.catalog.with_role("buildings")
        rows = _bare(cursor, buildings, clouds, store.city.srid) if buildings else []
        everybodys = all(cloud.public for cloud in clouds)
        closed = 0 if everybodys else sum(row.public for row in rows)
        rows = [row for row in rows if everybodys or not row.public]
        outcome = Reconstructed(LoadReport(load=load.number), buildings=len(rows))
        if closed:
            outcome.why[NOT_PUBLIC] = closed
        rasters = _Rasters(Path(scratch), _around(clouds), cell_m, store.city.srid)
        measurements: dict[str, tuple[Measured, Any]] = {}
        for worked in _worked(store, clouds, rows, cell_m, Path(scratch), progress):
            rasters.add(worked)
            roof_of = dict(zip(worked.roof_of.tolist(), range(len(worked.roof_of)), strict=True))
            for k, (identifier, measured) in enumerate(zip(worked.ids, worked.measured, strict=True)):
                body = select(worked.roofs, np.array([roof_of[k]])) if k in roof_of else None
                measurements[identifier] = measured, body
        progress(0.95, "writing")
        since = max((c.since for c in clouds if c.since), default=None)
        _load_rasters(cursor, store, rasters, clouds, since, outcome.report)
        if buildings and measurements:
            _load_buildings(cursor, store, buildings, rows, measurements, clouds, since, outcome)
        outcome.report.quality = examine(cursor, store, load.number, outcome.report.layers)
        keep_quality(cursor, load.number, outcome.report.quality)
        load.report, load.detail = outcome.report.as_json(), {"clouds": [c.id for c in clouds]}
        load.datasets = [note for file in outcome.report.files for note in file.datasets]
    return outcome


def _clouds(cursor: Cursor, store: Store, names: Sequence[str]) -> list[Cloud]:
    layers = [layer.id for layer in store.catalog.of_kind("points")]
    cursor.execute(
        """SELECT id, sha256, dataset, lower(valid), (about->>'points')::bigint, public, ST_XMin(footprint),
                  ST_YMin(footprint), ST_XMax(footprint), ST_YMax(footprint) FROM cim.asset
           WHERE layer = ANY(%s) AND upper_inf(recorded) AND valid @> now() ORDER BY id""",
        [layers],
    )
    stored = [Cloud(r[0], asset_path(store.settings, r[1]), r[2], r[3], r[4], r[5], r[6:10]) for r in cursor.fetchall()]
    if missing := sorted(set(names) - {cloud.id for cloud in stored}):
        raise NotFound(say("no-cloud", names=", ".join(missing), clouds=", ".join(c.id for c in stored) or "none"))
    chosen = [cloud for cloud in stored if not names or cloud.id in names]
    if not chosen:
        raise NotFound(say("no-cloud-stored"))
    return chosen


def _around(clouds: Sequence[Cloud]) -> Box:
    boxes = np.array([cloud.box for cloud in clouds])
    west, south = boxes[:, :2].min(axis=0).tolist()
    east, north = boxes[:, 2:].max(axis=0).tolist()
    return west, south, east, north


@dataclass(frozen=True)
class _Building:
    """A building without a body of LoD2, as it is stored."""

    id: str
    wkb: bytes
    dataset: str
    public: bool
    attributes: dict[str, Any]
    content: bytes


def _bare(cursor: Cursor, layer: Layer, clouds: Sequence[Cloud], srid: int) -> list[_Building]:
    """Return the buildings under the clouds that are footprints or blocks raised from such, and have no parts."""
    fields = "".join(f', v."{f.name}"' for f in layer.fields)
    buildings: dict[str, _Building] = {}
    for cloud in clouds:
        cursor.execute(
            f"""SELECT v.id, ST_AsBinary(ST_Force2D(v.geom)), v.dataset, v.public, v.extra, v.content{fields}
                FROM {table(layer)} v WHERE upper_inf(v.recorded) AND upper_inf(v.valid) AND v.parent_id IS NULL
                  AND (v.lods IS NULL OR v.lods[cardinality(v.lods)] < '2')
                  AND v.geom && %s::geometry
                  AND NOT EXISTS (SELECT FROM {table(layer)} p WHERE p.parent_id = v.id AND upper_inf(p.recorded))
                ORDER BY v.id COLLATE "C" """,
            [box_text(cloud.box, srid)],
        )
        for row in cursor.fetchall():
            values = zip((f.name for f in layer.fields), row[6:], strict=True)
            attributes = (row[4] or {}) | {name: value for name, value in values if value is not None}
            buildings[row[0]] = _Building(row[0], bytes(row[1]), row[2], row[3], attributes, bytes(row[5]))
    return list(buildings.values())


def _worked(
    store: Store, clouds: Sequence[Cloud], rows: Sequence[_Building], cell_m: float, scratch: Path, progress: Progress
) -> Iterator[Worked]:
    """Share the points out to blocks, and work on these in all processes."""
    total = sum(cloud.points for cloud in clouds)
    area = sum((c.box[2] - c.box[0]) * (c.box[3] - c.box[1]) for c in clouds)
    side = np.clip(np.sqrt(POINTS_A_BLOCK * max(area, 1.0) / max(total, 1)), SMALLEST_BLOCK_M, LARGEST_BLOCK_M)
    side = np.ceil(side / cell_m) * cell_m  # blocks end where cells do
    shapes: NDArray[Any] = shapely.from_wkb([row.wkb for row in rows])
    planned = list(blocks.blocks_of(blocks.cut(_around(clouds), float(side)), [row.id for row in rows], shapes))
    boxes = np.array([_reach(box, shapes[members]) for box, members in planned])
    passed = 0

    def seen(count: int) -> None:
        nonlocal passed
        passed += count
        progress(0.3 * passed / total, "sharing out points")

    ground = blocks.share_out([c.path for c in clouds], boxes, scratch, seen)
    classified = ground >= blocks.LEAST_CLASSIFIED * total
    tasks = [
        Block(
            scratch / str(k),
            box,
            cell_m,
            classified,
            Footprints([rows[m].id for m in members], [rows[m].wkb for m in members]),
        )
        for k, (box, members) in enumerate(planned)
        if (scratch / str(k)).is_file()
    ]
    workers = store.settings.worker_count
    done = 0
    if workers < 2 or len(tasks) < 2:
        for task in tasks:
            yield blocks.work_block(task)
            done += 1
            progress(0.3 + 0.65 * done / len(tasks), "ground, heights and roofs")
        return
    with process_pool(workers, blocks.__name__) as pool:
        for worked in in_order(pool.executor, blocks.work_block, tasks, ahead=workers + 1):
            yield worked
            done += 1
            progress(0.3 + 0.65 * done / len(tasks), "ground, heights and roofs")


def _reach(box: Box, shapes: NDArray[Any]) -> list[float]:
    """Return the box whose points a block needs: its share with a margin, and all of its buildings."""
    west, south, east, north = box
    margin = blocks.MARGIN_M
    wide = [west - margin, south - margin, east + margin, north + margin]
    if not len(shapes):
        return wide
    bounds = shapely.total_bounds(shapes)
    return [*np.minimum(wide[:2], bounds[:2]).tolist(), *np.maximum(wide[2:], bounds[2:]).tolist()]


class _Rasters:
    """The two rasters on their way into files, block by block."""

    def __init__(self, folder: Path, box: Box, cell_m: float, srid: int) -> None:
        self.grid = Grid.over(box, cell_m)
        self.files = {name: folder / f"{name}.tif" for name in ("terrain", "surface")}
        grid = self.grid
        profile: dict[str, Any] = {
            "driver": "GTiff", "height": grid.rows, "width": grid.columns, "count": 1, "dtype": "float32",
            "nodata": float("nan"), "crs": CRS.from_epsg(srid).to_wkt(), "tiled": True, "blockxsize": 256,
            "blockysize": 256, "compress": "deflate", "predictor": 3, "sparse_ok": True, "bigtiff": "if_safer",
            "transform": from_origin(grid.west, grid.north, cell_m, cell_m),
        }  # fmt: skip
        for path in self.files.values():
            with rasterio.open(path, "w", **profile):
                pass

    def add(self, worked: Worked) -> None:
        """Write a block's share."""
        west, _, _, north = worked.box
        column = round((west - self.grid.west) / self.grid.cell_m)
        row = round((self.grid.north - north) / self.grid.cell_m)
        for path, values in zip(self.files.values(), (worked.terrain, worked.surface), strict=True):
            top, left = max(0, -row), max(0, -column)
            part = values[top : self.grid.rows - row, left : self.grid.columns - column]
            if part.size:
                with rasterio.open(path, "r+") as file:
                    window = Window(column + left, row + top, part.shape[1], part.shape[0])
                    file.write(part.astype(np.float32), 1, window=window)


def _load_rasters(
    cursor: Cursor, store: Store, rasters: _Rasters, clouds: Sequence[Cloud], since: datetime | None, report: LoadReport
) -> None:
    name = clouds[0].dataset if len({c.dataset for c in clouds}) == 1 else "point clouds"
    surfaces = (store.catalog.with_role("ground"), store.catalog.with_role("surface"))
    for layer, path in zip(surfaces, rasters.files.values(), strict=True):
        if layer is None:
            continue
        file = FileReport(f"{layer.id} of {', '.join(c.id for c in clouds)}")
        target = path.with_name(f"{clouds[0].id}_{layer.id}.tif" if len(clouds) == 1 else f"clouds_{layer.id}.tif")
        path.rename(target)
        declared = Declared(
            layer=layer.id, dataset=f"{name} · {layer.id}", vertical_datum="city",
            date=store.city.clock.day(since) if since else None,
            public=all(cloud.public for cloud in clouds),
        )  # fmt: skip
        raster.load(cursor, Incoming(target, declared, store, report.load or 0, file))
        report.files.append(file)


def _load_buildings(
    cursor: Cursor,
    store: Store,
    layer: Layer,
    rows: Sequence[_Building],
    measurements: dict[str, tuple[Measured, Any]],
    clouds: Sequence[Cloud],
    since: datetime | None,
    outcome: Reconstructed,
) -> None:
    """Write new versions of the buildings that the points say something of, dataset by dataset."""
    report = FileReport(f"{layer.id} from {', '.join(c.id for c in clouds)}", layers=[layer.id])
    errors = []
    for dataset, public in sorted({(row.dataset, row.public) for row in rows}):
        candidates = [row for row in rows if (row.dataset, row.public) == (dataset, public) and row.id in measurements]
        for row in candidates:
            measured = measurements[row.id][0]
            if measured.why:
                outcome.why[measured.why] = outcome.why.get(measured.why, 0) + 1
        buildings = [row for row in candidates if np.isfinite(measurements[row.id][0].ridge_m)]
        if not buildings:
            continue
        batch = _batch(layer, buildings, measurements)
        outcome.measured += len(buildings)
        errors += [measurements[row.id][0].rms_m for row in buildings if measurements[row.id][1] is not None]
        incoming = Incoming(
            path=Path(report.path), declared=Declared(), store=store, load=outcome.report.load or 0, report=report,
            ground=ground_of(cursor, store, public_only=public), into=layer,
        )  # fmt: skip
        ready = prepare(batch, incoming)
        report.read += len(buildings)
        create_staging(cursor, layer)
        take_turn_with_bodies(cursor)
        store_bodies(cursor, ready.bodies)
        stage_records(cursor, layer, ready.records)
        day = store.city.clock.day(since) if since else None
        merged = merge(cursor, Delivery(layer, dataset, incoming.load, since, public=public, surveyed=day))
        report.datasets.append(DatasetNote(dataset, layer.id, day))
        report.loaded += merged.loaded
        report.updated += merged.updated
        report.unchanged += merged.unchanged
    outcome.modelled = len(errors)
    outcome.rms_m = float(np.median(errors)) if errors else 0.0
    outcome.report.files.append(report)


def _batch(layer: Layer, buildings: Sequence[_Building], measurements: dict[str, tuple[Measured, Any]]) -> Features:
    """Return the buildings with what was measured, a block (LoD1) each, and the roofs (LoD2) that there are."""
    measured = [measurements[row.id][0] for row in buildings]
    shapes: NDArray[Any] = shapely.from_wkb([row.wkb for row in buildings])
    base = np.array([m.ground_m for m in measured])
    # to the middle between eave and ridge: GB 50016-2014 (2018), appendix A.0.1
    rise = np.array([(m.eave_m + m.ridge_m) / 2 - m.ground_m for m in measured])
    stored = [_named(layer, m) for m in measured]
    height = layer.field("height")
    for row, values, metres in zip(buildings, stored, rise, strict=True):
        if height and not row.attributes.get(height.name):
            values[height.name] = round(float(metres), 2)
    roofs = [(r, measurements[row.id][1]) for r, row in enumerate(buildings) if measurements[row.id][1] is not None]
    bodies = [
        extrusion.extrude(outlines.as_multipolygons(shapes), base, np.maximum(rise, 0.1)),
        *(body for _, body in roofs),
    ]
    return Features(
        ids=[row.id for row in buildings],
        attributes=[row.attributes | values for row, values in zip(buildings, stored, strict=True)],
        geometry=np.asarray(shapes),
        object_class=[None] * len(buildings),
        parent_id=[None] * len(buildings),
        bodies=concatenate(bodies),
        body_record=np.array([*range(len(buildings)), *(r for r, _ in roofs)], np.int64),
        body_lod=["1"] * len(buildings) + ["2"] * len(roofs),
        derived_from=[row.content for row in buildings],
    )


def _named(layer: Layer, m: Measured) -> dict[str, Any]:
    """Return what was measured by the names of the layer's fields."""
    by_role: dict[str, Any] = {
        "base": round(m.ground_m, 2),
        "eave": round(m.eave_m - m.ground_m, 2),
        "ridge": round(m.ridge_m - m.ground_m, 2),
        "points": m.points,
        "covered": m.covered,
        "roof_error": None if np.isnan(m.rms_m) else round(m.rms_m, 3),
    }
    return {f.name: by_role[f.role] for f in layer.fields if f.role in by_role and by_role[f.role] is not None}
