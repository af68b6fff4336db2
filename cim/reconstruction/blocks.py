"""A city's cloud cut into blocks: shared out to files in one pass, then worked on one by one, in any process.

A block reads what its buildings and its share of the rasters need, and no more, so that memory follows from the size of
a block and not from the cloud.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import laspy
import numpy as np
import shapely
from numpy.typing import NDArray

from cim.geometry import measures
from cim.geometry.body_batch import ROOF, Bodies, concatenate, empty
from cim.geometry.canonical import canonical
from cim.reconstruction.ground import (
    GROUND_CLASS,
    NOISE_CLASSES,
    Grid,
    filled,
    filter_ground,
    gridded,
)
from cim.reconstruction.roofs import model_roof
from cim.reconstruction.solids import solid_of

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Box = tuple[float, float, float, float]

POINT = np.dtype([("xyz", "<f8", 3), ("code", "u1")])
MARGIN_M = 30.0  # around a block's rasters, so that filters meet no edge
CHUNK = 1_000_000
BUILDING_CLASS, VEGETATION_CLASSES, WATER_CLASS = 6, (3, 4, 5), 9
LEAST_CLASSIFIED = 0.01  # share of ground points below which nobody has classified the cloud
ROOF_ABOVE_M = 1.8  # of the ground: what is lower over a footprint is no roof
INSIDE_M = 0.25  # a point nearer to the outline may be the wall's or the neighbour's
LEAST_POINTS_M2, LEAST_COVERED = 0.8, 0.5  # of a footprint, for heights; what covers it is counted in cells of 1 m
GOOD_RMS_M, GOOD_WITHIN = 0.35, 0.75  # of a roof that is kept as LoD2: either, and never worse than
WORST_RMS_M = 1.0
EAVE, RIDGE = 5.0, 99.0  # percentiles of the roof's points, where it has no model
EDGE_M = 0.5


@dataclass(frozen=True)
class Footprints:
    """Buildings of a block: their outlines in the city's CRS."""

    ids: list[str]
    wkb: list[bytes]


@dataclass(frozen=True)
class Block:
    """What a process is told: where its points are, what it makes of them."""

    file: Path
    box: Box  # its share of the rasters
    cell_m: float
    classified: bool
    footprints: Footprints


@dataclass(frozen=True)
class Measured:
    """What the points say of one building; heights in the city's datum, NaN where they say nothing."""

    points: int
    covered: float  # share of the footprint's square metres with a point
    ground_m: float
    eave_m: float
    ridge_m: float
    rms_m: float  # of the roof's points from its faces
    why: str = ""  # there is no roof of LoD2


@dataclass(frozen=True)
class Worked:
    """What became of a block."""

    box: Box
    terrain: Float  # (rows, columns), NaN where no ground is near
    surface: Float
    ids: list[str]
    measured: list[Measured]
    roofs: Bodies  # of some of them
    roof_of: Int  # (B,) whose


def cut(box: Box, side_m: float) -> list[Box]:
    """Return square blocks over a box, on whole multiples of their side."""
    west, south, east, north = box
    columns = range(int(np.floor(west / side_m)), int(np.floor(east / side_m)) + 1)
    rows = range(int(np.floor(south / side_m)), int(np.floor(north / side_m)) + 1)
    return [(i * side_m, j * side_m, (i + 1) * side_m, (j + 1) * side_m) for j in rows for i in columns]


def share_out(clouds: Sequence[Path], boxes: NDArray[np.float64], folder: Path, seen: Callable[[int], None]) -> int:
    """Write each point to the file of every box (n, 4) that holds it; return how many are ground.

    Noise and withheld points are left out. The file of box k is `folder/k`.
    """
    ground = 0
    tree = shapely.STRtree(shapely.box(*boxes.T))
    for path in clouds:
        with laspy.open(path) as reader:
            for chunk in reader.chunk_iterator(CHUNK):
                code = np.asarray(chunk.classification)
                keep = ~np.isin(code, NOISE_CLASSES)
                if "withheld" in chunk.point_format.dimension_names:
                    keep &= np.asarray(chunk.withheld) == 0
                points = np.empty(int(keep.sum()), POINT)
                for axis, values in enumerate((chunk.x, chunk.y, chunk.z)):
                    points["xyz"][:, axis] = np.asarray(values)[keep]
                points["code"] = code[keep]
                ground += int((points["code"] == GROUND_CLASS).sum())
                _append(points, boxes, tree, folder)
                seen(len(chunk))
    return ground


def _append(points: NDArray[np.void], boxes: Float, tree: shapely.STRtree, folder: Path) -> None:
    if not len(points):
        return
    xy = points["xyz"][:, :2]
    for k in tree.query(shapely.box(*xy.min(axis=0), *xy.max(axis=0))):
        west, south, east, north = boxes[k]
        inside = (xy[:, 0] >= west) & (xy[:, 0] <= east) & (xy[:, 1] >= south) & (xy[:, 1] <= north)
        if inside.any():
            with (folder / str(k)).open("ab") as file:
                points[inside].tofile(file)


def work_block(block: Block) -> Worked:
    """Make rasters of a block's points, and measure and model its buildings."""
    points = np.fromfile(block.file, POINT) if block.file.is_file() else np.empty(0, POINT)
    xyz = points["xyz"]
    is_ground = points["code"] == GROUND_CLASS if block.classified else filter_ground(xyz)
    west, south, east, north = block.box
    wide = Grid.over((west - MARGIN_M, south - MARGIN_M, east + MARGIN_M, north + MARGIN_M), block.cell_m)
    reach = round(2 * MARGIN_M / block.cell_m)
    terrain = filled(gridded(xyz[is_ground], wide, "mean"), within=reach)
    surface = filled(gridded(xyz, wide, "highest"), within=2)
    measured, roofs, roof_of = _buildings(block, points, filled(terrain), wide)
    top, left = round((wide.north - north) / block.cell_m), round((west - wide.west) / block.cell_m)
    rows, columns = round((north - south) / block.cell_m), round((east - west) / block.cell_m)
    inner = np.s_[top : top + rows, left : left + columns]
    return Worked(block.box, terrain[inner], surface[inner], block.footprints.ids, measured, roofs, roof_of)


def _buildings(
    block: Block, points: NDArray[np.void], terrain: Float, grid: Grid
) -> tuple[list[Measured], Bodies, Int]:
    shapes = shapely.from_wkb(block.footprints.wkb)
    measured, roofs, roof_of = [], [], []
    xyz = points["xyz"]
    order = np.argsort(xyz[:, 0], kind="stable")
    eastings = xyz[order, 0]
    for k, shape in enumerate(shapes):
        west, south, east, north = shapely.bounds(shape)
        inside = order[np.searchsorted(eastings, west) : np.searchsorted(eastings, east)]
        inside = inside[(xyz[inside, 1] >= south) & (xyz[inside, 1] <= north)]
        inner = shapely.buffer(shape, -INSIDE_M)
        inside = inside[shapely.contains_xy(inner, xyz[inside, 0], xyz[inside, 1])]
        measurement, roof = _building(shape, points[inside], terrain, grid)
        measured.append(measurement)
        if roof is not None:
            roofs.append(roof)
            roof_of.append(k)
    return measured, concatenate(roofs) if roofs else empty(), np.array(roof_of, np.int64)


def _building(shape: object, points: NDArray[np.void], terrain: Float, grid: Grid) -> tuple[Measured, Bodies | None]:
    outline = shapely.get_coordinates(shapely.segmentize(shape, 2.0))
    ground_m = float(grid.sample(terrain, outline).min()) if np.isfinite(terrain).any() else np.nan
    roof_points = points["xyz"][_is_roof(points, ground_m)]
    area = float(shapely.area(shape))
    cells = len(np.unique(np.floor(roof_points[:, :2]).astype(np.int64), axis=0))
    covered = min(1.0, cells / max(area, 1.0))
    nothing = Measured(len(roof_points), round(covered, 3), ground_m, np.nan, np.nan, np.nan)
    if np.isnan(ground_m):
        return _why(nothing, "no ground near it"), None
    if len(roof_points) < max(8.0, LEAST_POINTS_M2 * area) or covered < LEAST_COVERED:
        return _why(nothing, "too few points on it"), None
    eave, ridge = np.percentile(roof_points[:, 2], (EAVE, RIDGE))
    measurement = Measured(len(roof_points), round(covered, 3), ground_m, float(eave), float(ridge), np.nan)
    bodies, rms = [], []
    for part in shapely.get_parts(shape):
        inside = shapely.contains_xy(part, roof_points[:, 0], roof_points[:, 1])
        roof = model_roof(part, roof_points[inside])
        if roof is None:
            return _why(measurement, "its points show no plane"), None
        bodies.append(solid_of(roof, ground_m))
        rms.append((roof.rms_m, roof.within, int(inside.sum())))
    weight = np.array([number for *_, number in rms], float)
    error = float(np.sqrt(np.average([r**2 for r, *_ in rms], weights=weight)))
    within = float(np.average([w for _, w, _ in rms], weights=weight))
    measurement = Measured(
        measurement.points, measurement.covered, measurement.ground_m, measurement.eave_m, measurement.ridge_m, error
    )
    if error > WORST_RMS_M or (error > GOOD_RMS_M and within < GOOD_WITHIN):
        return _why(measurement, "no planes that fit its points"), None
    body = _as_one(bodies)
    if body is None:
        return _why(measurement, "its surface doesn't close"), None
    low, high = _eave_and_ridge(body, roof_points[:, 2])
    return Measured(measurement.points, measurement.covered, measurement.ground_m, low, high, error), body


def _eave_and_ridge(body: Bodies, z: Float) -> tuple[float, float]:
    """Return the lowest and highest corner of a roof, as far as its points reach: a plane's edge may overshoot them."""
    roof = body.vertices[body.indices[(body.face_class == ROOF)[body.face_of_ring[body.ring_of_index]]], 2]
    low, middle, high = np.percentile(z, (1, 50, 99))
    eave = np.clip(roof.min(), low - EDGE_M, middle)
    return float(eave), float(np.clip(roof.max(), middle, high + EDGE_M))


def _why(measured: Measured, why: str) -> Measured:
    m = measured
    return Measured(m.points, m.covered, m.ground_m, m.eave_m, m.ridge_m, m.rms_m, why)


def _as_one(parts: Sequence[Bodies]) -> Bodies | None:
    """Return the solids of a footprint's parts as one body, if it is closed."""
    together = concatenate(parts)
    faces = np.array([0, together.face_start[-1]])
    one = canonical(
        Bodies(
            together.vertices,
            together.indices,
            together.index_start,
            together.ring_start,
            faces,
            together.face_class,
        )
    ).bodies
    return one if len(one) and bool(measures.closed(one)[0]) and float(measures.volumes(one)[0]) > 0 else None


def _is_roof(points: NDArray[np.void], ground_m: float) -> NDArray[np.bool_]:
    """Return which points over a footprint are its roof's: those classified so, else what is high and no plant."""
    code, z = points["code"], points["xyz"][:, 2]
    building = code == BUILDING_CLASS
    if building.sum() > 0.3 * len(points):
        return np.asarray(building)
    others = (GROUND_CLASS, *VEGETATION_CLASSES, WATER_CLASS)
    return np.asarray(~np.isin(code, others) & (z > ground_m + ROOF_ABOVE_M))


def blocks_of(boxes: Sequence[Box], ids: Sequence[str], shapes: NDArray[np.object_]) -> Iterator[tuple[Box, Int]]:
    """Yield each block with the buildings whose footprint's middle it holds: positions in `ids`."""
    middle = (shapely.bounds(shapes)[:, :2] + shapely.bounds(shapes)[:, 2:]) / 2 if len(ids) else np.empty((0, 2))
    for box in boxes:
        west, south, east, north = box
        x, y = middle[:, 0], middle[:, 1]
        yield box, np.flatnonzero((x >= west) & (x < east) & (y >= south) & (y < north))
