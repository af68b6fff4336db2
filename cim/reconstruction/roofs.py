"""The planes of a roof in its points, and which part of the footprint each of them covers."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Float = NDArray[np.float64]
Int = NDArray[np.int64]

NEIGHBOURS = 10
CANDIDATES = 48
SAME_TURN = np.cos(np.radians(25.0))  # a point whose neighbourhood leans less from a plane than this,
OFF_PLANE_M = 0.12  # and that lies this near it, is of the plane
LEAST_POINTS = 12  # of a plane,
LEAST_SHARE = 0.02  # and of the roof's points
MOST_PLANES = 16
MOST_POINTS = 3000
STEEPEST = np.tan(np.radians(75.0))
CLIP_M = 0.5  # a point farther off says no more than one that far
MOST_BORDERS = 30
LEAST_BORDER = 4  # pairs of neighbouring points across it
MEETING_M = 0.75  # planes meet where their border lies this near the line in which they cut each other
STEP_M = 0.6
SQUARE = np.radians(12.0)  # a step this near the footprint's own directions takes one of them


@dataclass(frozen=True)
class Roof:
    """Faces that cover a footprint without overlap, each on a plane z = a (x - ox) + b (y - oy) + c."""

    polygons: NDArray[Any]  # (f,) shapely polygons that share all their nodes
    planes: Float  # (f, 3)
    origin: Float  # (2,) ox, oy
    rms_m: float  # of the points from the face below or above them
    within: float  # share of the points within 20 cm of it


def find_planes(points: Float) -> tuple[Float, Int]:
    """Return the planes z = ax + by + c in points (n, 3), (k, 3), and the plane of each point, -1 where it has none.

    The plane that most points agree with, by distance and by the normal of their neighbourhood, is taken out, then the
    next, until too few agree. Candidates are the neighbourhoods of points drawn at random, the same ones every time.
    (RANSAC with normals: Schnabel, Wahl, Klein 2007, Efficient RANSAC for point-cloud shape detection.)
    """
    if len(points) < LEAST_POINTS:
        return np.empty((0, 3)), np.full(len(points), -1, np.int64)
    tree = cKDTree(points)
    _, near = tree.query(points, min(NEIGHBOURS, len(points) - 1) + 1)
    normals = _normals(points[near])
    least = max(LEAST_POINTS, LEAST_SHARE * len(points))
    draw = np.random.default_rng(len(points))
    planes: list[Float] = []
    left = np.flatnonzero(np.abs(normals[:, 2]) > 1 / np.hypot(1, STEEPEST))
    while len(left) >= least and len(planes) < MOST_PLANES:
        seeds = draw.choice(left, min(CANDIDATES, len(left)), replace=False)
        plane = _best(points, normals, left, _planes_at(points[near[seeds]]))
        for _ in range(2):
            agree = left[_agree(points[left], normals[left], plane[None])[:, 0]]
            if len(agree) < least:
                break
            plane = fit_plane(points[agree])
        agree = left[_agree(points[left], normals[left], plane[None])[:, 0]]
        if len(agree) < least:
            break
        planes.append(plane)
        left = left[np.abs(_off(points[left], plane[None]))[:, 0] > 2 * OFF_PLANE_M]
    if not planes:
        return np.empty((0, 3)), np.full(len(points), -1, np.int64)
    coefficients = np.array(planes)
    off = np.abs(_off(points, coefficients))
    return coefficients, np.where(off.min(axis=1) < 2 * OFF_PLANE_M, off.argmin(axis=1), -1)


def _normals(neighbourhoods: Float) -> Float:
    centred = neighbourhoods - neighbourhoods.mean(axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", centred, centred))
    return np.asarray(vectors[:, :, 0])


def _planes_at(neighbourhoods: Float) -> Float:
    """Return the planes (m, 3) of neighbourhoods (m, k, 3)."""
    centre = neighbourhoods.mean(axis=1)
    normal = _normals(neighbourhoods)
    upright = np.where(np.abs(normal[:, 2:]) < 1e-3, 1e-3, normal[:, 2:])
    slope = -normal[:, :2] / upright
    level = centre[:, 2] - np.einsum("ij,ij->i", slope, centre[:, :2])
    return np.column_stack([slope, level])


def _agree(points: Float, normals: Float, planes: Float) -> NDArray[np.bool_]:
    """Return (n, k) which points lie on each plane and look the way it does."""
    upward = np.c_[-planes[:, :2], np.ones(len(planes))] / np.sqrt(1 + (planes[:, :2] ** 2).sum(axis=1))[:, None]
    near = np.abs(_off(points, planes)) * upward[:, 2] < OFF_PLANE_M
    return np.asarray(near & (np.abs(normals @ upward.T) > SAME_TURN))


def _best(points: Float, normals: Float, left: Int, candidates: Float) -> Float:
    """Return the candidate with which most points agree."""
    return np.asarray(candidates[_agree(points[left], normals[left], candidates).sum(axis=0).argmax()])


def fit_plane(points: Float) -> Float:
    """Return the plane (a, b, c) of least squares, once more without what lies more than three deviations off."""
    for _ in range(2):
        plane, *_ = np.linalg.lstsq(np.c_[points[:, :2], np.ones(len(points))], points[:, 2], rcond=None)
        off = np.abs(points[:, 2] - points[:, :2] @ plane[:2] - plane[2])
        keep = off <= max(3 * float(np.sqrt((off**2).mean())), 0.02)
        if keep.all() or keep.sum() < LEAST_POINTS:
            break
        points = points[keep]
    return np.asarray(plane)


def _off(points: Float, planes: Float) -> Float:
    """Return (n, k) how far above each plane each point lies."""
    return np.asarray(points[:, 2:3] - points[:, :2] @ planes[:, :2].T - planes[:, 2])


def model_roof(footprint: Any, points: Float) -> Roof | None:
    """Return the roof over a footprint that fits points (n, 3) best; None where the points show no plane.

    The footprint is cut along the lines in which neighbouring planes meet, or along the steps between them; each piece
    takes the plane that is nearest to its points, and pieces of one plane that touch are joined.
    """
    origin = np.floor(points[:, :2].mean(axis=0)) if len(points) else np.zeros(2)
    local = points - [*origin, 0.0]
    shape = shapely.transform(footprint, lambda xy: xy - origin)
    some = local[:: len(local) // MOST_POINTS + 1]  # more of them show no more planes
    planes, plane_of = find_planes(some)
    if not len(planes):
        return None
    pieces = _pieces(shape, _cuts(shape, some, planes, plane_of)) if len(planes) > 1 else np.array([shape], object)
    label = _labels(pieces, local, planes)
    faces, chosen = _joined(pieces, label)
    off = _off_faces(local, faces, planes[chosen])
    moved = shapely.transform(faces, lambda xy: xy + origin)
    rms = float(np.sqrt((off**2).mean())) if len(off) else np.inf
    return Roof(moved, planes[chosen], origin, rms, float((np.abs(off) < 0.2).mean()) if len(off) else 0.0)


def _cuts(shape: Any, points: Float, planes: Float, plane_of: Int) -> list[Any]:
    """Return the lines across a footprint along which its planes meet or step, the longest common border first."""
    on_plane = np.flatnonzero(plane_of >= 0)
    if len(on_plane) < 3:
        return []
    xy = points[on_plane, :2]
    k = min(6, len(on_plane) - 1)
    _, near = cKDTree(xy).query(xy, k + 1)
    a, b = np.repeat(np.arange(len(on_plane)), k), near[:, 1:].ravel()
    p, q = plane_of[on_plane][a], plane_of[on_plane][b]
    apart = p < q
    middle = (xy[a[apart]] + xy[b[apart]]) / 2
    pair = p[apart] * len(planes) + q[apart]
    pairs, count = np.unique(pair, return_counts=True)
    lines: list[Any] = []
    for key in pairs[np.argsort(-count, kind="stable")][:MOST_BORDERS]:
        border = middle[pair == key]
        if len(border) >= LEAST_BORDER:
            one, other = key // len(planes), key % len(planes)
            smaller = min((one, other), key=lambda plane: int((plane_of == plane).sum()))
            region = points[plane_of == smaller, :2]
            lines += _lines(border, planes[one] - planes[other], region, shape)
    return lines


def _lines(border: Float, difference: Float, region: Float, shape: Any) -> list[Any]:
    """Return lines between two planes: where they meet, if their border lies there, else the sides of a step.

    A step runs along the footprint's own directions, on those sides of the smaller of the two where the border is: one
    side of a wing, four of a stair head.
    """
    a, b, c = difference
    lean = np.hypot(a, b)
    if lean > 0.02 and np.median(np.abs(border @ [a, b] + c) / lean) < MEETING_M:
        centre = border.mean(axis=0)
        through = centre - (centre @ [a, b] + c) / lean**2 * np.array([a, b])
        return [_across(through, np.array([-b, a]) / lean, shape)]
    lines = []
    for along in _directions(shape, border):
        side = np.array([-along[1], along[0]])
        place, ends = border @ side, region @ side
        for end in np.percentile(ends, (1, 99)):
            on_side = np.abs(place - end) < STEP_M
            # a side has more of the border than the two corners that every other side has too
            if on_side.sum() >= LEAST_BORDER and np.ptp(border[on_side] @ along) > 2 * STEP_M:
                lines.append(_across(side * float(np.median(place[on_side])), along, shape))
    return lines


def _across(through: Float, along: Float, shape: Any) -> Any:
    """Return the line through a place that reaches over a whole footprint."""
    west, south, east, north = shapely.bounds(shape)
    reach = np.hypot(east - west, north - south) + np.abs(through - [(west + east) / 2, (south + north) / 2]).sum()
    return shapely.linestrings([through - along * reach, through + along * reach])


def _directions(shape: Any, border: Float) -> tuple[Float, Float]:
    """Return the two directions in which a step may run: a straight border's own, or the footprint's where near."""
    centred = border - border.mean(axis=0)
    _, spread, vectors = np.linalg.svd(centred, full_matrices=False)
    along = vectors[0] if spread[1] < 0.2 * spread[0] else _longest_side(shape)
    along = _squared(along, shape)
    return along, np.array([-along[1], along[0]])


def _longest_side(shape: Any) -> Float:
    ring = shapely.get_coordinates(shapely.minimum_rotated_rectangle(shape))
    side = max((q - p for p, q in pairwise(ring)), key=lambda v: float(v @ v))
    return np.asarray(side / np.hypot(*side))


def _squared(along: Float, shape: Any) -> Float:
    """Return a direction, turned to the footprint's longest side or across it where it is near."""
    side = _longest_side(shape)
    base = np.arctan2(side[1], side[0])
    turn = (np.arctan2(along[1], along[0]) - base + np.pi / 4) % (np.pi / 2) - np.pi / 4
    if abs(turn) > SQUARE:
        return along
    angle = np.arctan2(along[1], along[0]) - turn
    return np.array([np.cos(angle), np.sin(angle)])


def _pieces(shape: Any, lines: list[Any]) -> NDArray[Any]:
    """Return a footprint cut along lines; slivers too."""
    noded = shapely.union_all([shapely.boundary(shape), *lines])
    parts = shapely.get_parts(shapely.polygonize([noded]))
    return np.asarray(parts[shapely.intersects(shape, shapely.point_on_surface(parts))])


def _labels(pieces: NDArray[Any], points: Float, planes: Float) -> Int:
    """Return the plane of each piece: the nearest to its points, or that of the neighbour with most border."""
    cost = np.minimum(np.abs(_off(points, planes)), CLIP_M)
    point, piece = shapely.STRtree(pieces).query(shapely.points(points[:, :2]), predicate="intersects")
    total = np.zeros((len(pieces), len(planes)))
    np.add.at(total, piece, cost[point])
    number = np.bincount(piece, minlength=len(pieces))
    label = np.where(number >= 3, total.argmin(axis=1), -1)
    if (label < 0).all():
        return np.zeros(len(pieces), np.int64)
    while (open_pieces := np.flatnonzero(label < 0)).size:
        settled = np.flatnonzero(label >= 0)
        border = shapely.length(shapely.intersection(pieces[open_pieces][:, None], pieces[settled][None, :]))
        best = border.argmax(axis=1)
        reached = border.max(axis=1) > 0
        if not reached.any():
            label[open_pieces] = label[settled[0]]
            break
        label[open_pieces[reached]] = label[settled[best[reached]]]
    return label


def _joined(pieces: NDArray[Any], label: Int) -> tuple[NDArray[Any], Int]:
    """Return touching pieces of one plane as one face; nodes of neighbours on its outline stay."""
    faces, chosen = [], []
    for plane in np.unique(label):
        parts = shapely.get_parts(shapely.coverage_union_all(pieces[label == plane]))
        faces += list(parts)
        chosen += [int(plane)] * len(parts)
    return np.array(faces, object), np.array(chosen, np.int64)


def _off_faces(points: Float, faces: NDArray[Any], planes: Float) -> Float:
    """Return how far each point lies above the face that covers its place."""
    point, face = shapely.STRtree(faces).query(shapely.points(points[:, :2]), predicate="intersects")
    point, first = np.unique(point, return_index=True)
    face = face[first]
    chosen = points[point]
    return np.asarray(chosen[:, 2] - np.einsum("ij,ij->i", chosen[:, :2], planes[face, :2]) - planes[face, 2])
