"""What a survey of the town delivers: a classified cloud of a hillside quarter, and a drawing of its heights."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from sample_data.roofs import Solid, solid
from sample_data.terrain import EAST, NORTH, Relief
from sample_data.town import House, base_m
from sample_data.write import CRS, SURVEYED, Features

Float = NDArray[np.float64]
Box = tuple[float, float, float, float]  # metres from the town's middle

SIDE_M = 320.0  # of the quarter
DENSITY_M2 = 4.0
NOISE_M = 0.03
UNCLASSIFIED, GROUND, TREE, BUILDING = 1, 2, 5, 6
COLOURS = {UNCLASSIFIED: (150, 146, 140), GROUND: (142, 132, 104), TREE: (78, 118, 62), BUILDING: (158, 92, 78)}


def quarter(houses: Sequence[House]) -> Box:
    """Return the square that holds most buildings of which only the footprint is drawn."""
    middle = np.array([shapely.get_coordinates(h.footprint.centroid)[0] for h in houses if not h.core])
    corners = np.unique(np.floor(middle / 40.0) * 40.0 - SIDE_M / 2, axis=0)
    inside = (np.abs(middle[None, :, :] - (corners[:, None, :] + SIDE_M / 2)) < SIDE_M / 2).all(axis=2)
    west, south = corners[inside.sum(axis=1).argmax()].tolist()
    return west, south, west + SIDE_M, south + SIDE_M


def write_cloud(
    path: Path, houses: Sequence[House], trees: Features, relief: Relief, rng: np.random.Generator, box: Box
) -> None:
    """Write a cloud as LAZ, with classes, intensity and colours: ground, roofs, crowns."""
    xyz, code = cloud(houses, trees, relief, rng, box)
    header = laspy.LasHeader(point_format=7, version="1.4")
    header.add_crs(pyproj.CRS.from_user_input(CRS))
    header.scales, header.offsets = np.full(3, 0.001), np.array([EAST, NORTH, 0.0])
    header.creation_date = date.fromisoformat(SURVEYED)
    header.generating_software = header.system_identifier = "sample"
    las = laspy.LasData(header)
    las.x, las.y, las.z = np.add(xyz, (EAST, NORTH, 0.0)).T
    las.classification = code
    las.return_number = las.number_of_returns = np.ones(len(xyz), np.uint8)
    las.intensity = rng.integers(800, 2400, len(xyz)).astype(np.uint16)
    shade = rng.uniform(0.82, 1.12, len(xyz))
    table = np.zeros((7, 3))
    for class_code, colour in COLOURS.items():
        table[class_code] = colour
    las.red, las.green, las.blue = (np.clip(table[code] * shade[:, None], 0, 255).T * 257).astype(np.uint16)
    las.write(path)


def cloud(
    houses: Sequence[House], trees: Features, relief: Relief, rng: np.random.Generator, box: Box
) -> tuple[Float, NDArray[np.uint8]]:
    """Return points (n, 3) of a box, in metres from the town's middle, and their classes."""
    west, south, east, north = box
    count = round((east - west) * (north - south) * DENSITY_M2)
    xy = rng.uniform((west, south), (east, north), (count, 2))
    z = relief.height(xy[:, 0], xy[:, 1])
    code = np.full(count, GROUND, np.uint8)
    for body in _solids(houses, relief, box):
        for place, height in _on_roof(body, xy):
            z[place], code[place] = np.maximum(height, np.where(code[place] == BUILDING, z[place], -np.inf)), BUILDING
    for x, y, tall, crown in _crowns(trees, box):
        near = np.flatnonzero((np.abs(xy[:, 0] - x) < crown / 2) & (np.abs(xy[:, 1] - y) < crown / 2))
        off = np.hypot(xy[near, 0] - x, xy[near, 1] - y) / (crown / 2)
        caught = near[(off < 1) & (code[near] == GROUND) & (rng.uniform(size=len(near)) < 0.75)]
        off = np.hypot(xy[caught, 0] - x, xy[caught, 1] - y) / (crown / 2)
        z[caught] += tall * (0.55 + 0.45 * np.sqrt(1 - off**2) * rng.uniform(0.6, 1.0, len(caught)))
        code[caught] = TREE
    stray = rng.uniform(size=count) < 0.002  # wires, birds, cars
    z[stray & (code == GROUND)] += rng.uniform(0.5, 4.0, int((stray & (code == GROUND)).sum()))
    code[stray & (code == GROUND)] = UNCLASSIFIED
    return np.column_stack([xy, z + rng.normal(0, NOISE_M, count)]), code


def _solids(houses: Sequence[House], relief: Relief, box: Box) -> Iterator[Solid]:
    reach = shapely.box(*box)
    for house in houses:
        if house.footprint.intersects(reach):
            foot = base_m(house, relief)
            for part in house.parts or (house,):
                yield solid(part.footprint, foot, part.eaves_m, part.roof)
                foot += part.eaves_m


def _on_roof(body: Solid, xy: Float) -> Iterator[tuple[NDArray[np.int64], Float]]:
    """Yield for each face of a roof the points below or above it, and its height there."""
    for rings, kind in zip(body.faces, body.classes, strict=True):
        corners = np.array([body.vertices[i] for i in rings[0]])
        normal = np.cross(corners, np.roll(corners, -1, axis=0)).sum(axis=0)
        if kind != "RoofSurface" or normal[2] < 0.1 * np.linalg.norm(normal):
            continue
        (west, south), (east, north) = corners[:, :2].min(axis=0), corners[:, :2].max(axis=0)
        near = (xy[:, 0] >= west) & (xy[:, 0] <= east) & (xy[:, 1] >= south) & (xy[:, 1] <= north)
        holes = [[body.vertices[i][:2] for i in ring] for ring in rings[1:]]
        shape = shapely.Polygon(corners[:, :2], holes)
        place = np.flatnonzero(near)
        place = place[shapely.contains_xy(shape, xy[place, 0], xy[place, 1])]
        yield place, corners[0, 2] - (xy[place] - corners[0, :2]) @ normal[:2] / normal[2]


def _crowns(trees: Features, box: Box) -> Iterator[tuple[float, float, float, float]]:
    shapes, columns = trees
    reach = shapely.box(*box)
    for shape, tall, crown in zip(shapes, columns["树高"], columns["冠幅"], strict=True):
        if reach.contains(shape):
            yield shape.x, shape.y, tall, crown


def write_drawing(path: Path, relief: Relief, box: Box) -> None:
    """Write a drawing as CASS makes it: spot heights with their text, contour lines, in metres of the grid."""
    import ezdxf

    ezdxf.options.write_fixed_meta_data_for_testing = True  # type: ignore[attr-defined] # no clock in it
    drawing = ezdxf.new("R2010", units=6)  # type: ignore[attr-defined]
    for name, colour in (("GCD", 1), ("DGX", 2)):
        drawing.layers.add(name, color=colour)
    space = drawing.modelspace()
    west, south, east, north = box
    x, y = np.meshgrid(np.arange(west + 10, east, 20.0), np.arange(south + 10, north, 20.0))
    for px, py, pz in zip(x.ravel(), y.ravel(), relief.height(x, y).ravel(), strict=True):
        height = round(float(pz), 2)
        space.add_point((px + EAST, py + NORTH, height), dxfattribs={"layer": "GCD"})
    for level, line in _contours(relief, box):
        points = [(px + EAST, py + NORTH) for px, py in line]
        space.add_lwpolyline(points, dxfattribs={"layer": "DGX", "elevation": level})
    for kind in sorted(drawing.entitydb.dxf_types_in_use()):  # ezdxf declares them in the order of a set, by hash
        drawing.classes.add_class(kind)
    drawing.saveas(path)
    ezdxf.options.write_fixed_meta_data_for_testing = False  # type: ignore[attr-defined]


def _contours(relief: Relief, box: Box) -> Iterator[tuple[float, Float]]:
    """Yield contour lines five metres apart."""
    from contourpy import contour_generator

    west, south, east, north = box
    x, y = np.arange(west, east + 1, 5.0), np.arange(south, north + 1, 5.0)
    z: Any = relief.height(*np.meshgrid(x, y))
    lines = contour_generator(x, y, z)
    for level in np.arange(np.ceil(z.min() / 5) * 5, z.max(), 5.0).tolist():
        for line in lines.lines(level):
            if len(line) > 1:
                yield level, np.asarray(line)
