"""Batches of 3D bodies: thousands of boundary representations in a handful of arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cim.geometry.appearance import Appearance, joined, plain

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

SURFACE_CLASSES = (
    *("", "GroundSurface", "WallSurface", "RoofSurface", "OuterCeilingSurface", "OuterFloorSurface"),
    *("ClosureSurface", "Window", "Door", "InteriorWallSurface", "CeilingSurface", "FloorSurface"),
    *("WaterSurface", "WaterGroundSurface", "WaterClosureSurface", "TrafficArea", "AuxiliaryTrafficArea"),
    *("TransportationMarking", "TransportationHole"),
)
CLASS_INDEX = {name: index for index, name in enumerate(SURFACE_CLASSES)}
GROUND, WALL, ROOF = CLASS_INDEX["GroundSurface"], CLASS_INDEX["WallSurface"], CLASS_INDEX["RoofSurface"]


@dataclass(frozen=True)
class Bodies:
    """B bodies of V vertices, R rings and F faces, each group addressed by offsets.

    `vertices` is (V, 3) float64 in metres; `indices` points into all of it, so that bodies may share vertices until
    they are canonical. Body b owns faces `face_start[b]:face_start[b+1]`, face f owns rings
    `ring_start[f]:ring_start[f+1]`, ring r owns indices `index_start[r]:index_start[r+1]`.
    """

    vertices: Float
    indices: Int
    index_start: Int  # (R+1,)
    ring_start: Int  # (F+1,)
    face_start: Int  # (B+1,)
    face_class: NDArray[np.uint8]  # (F,)
    appearance: Appearance | None = None  # of its F faces and I indices

    def __len__(self) -> int:
        return len(self.face_start) - 1

    @cached_property
    def body_of_face(self) -> Int:
        """(F,) the body of each face."""
        return np.repeat(np.arange(len(self)), np.diff(self.face_start))

    @cached_property
    def face_of_ring(self) -> Int:
        """(R,) the face of each ring."""
        return np.repeat(np.arange(len(self.face_class)), np.diff(self.ring_start))

    @cached_property
    def ring_of_index(self) -> Int:
        """(I,) the ring of each index."""
        return np.repeat(np.arange(len(self.index_start) - 1), np.diff(self.index_start))

    @cached_property
    def body_of_index(self) -> Int:
        """(I,) the body of each index."""
        return self.body_of_face[self.face_of_ring[self.ring_of_index]]

    @cached_property
    def next_index(self) -> Int:
        """(I,) position of the index that follows in its ring; the last is followed by the first."""
        following = np.arange(1, len(self.indices) + 1)
        sizes = np.diff(self.index_start)
        following[self.index_start[1:][sizes > 0] - 1] = self.index_start[:-1][sizes > 0]
        return following

    @cached_property
    def area_vectors(self) -> Float:
        """(F, 3) m² each face's area vector: along its normal, as long as its area; holes count negative.

        Newell's method: ½ Σ pᵢ × pᵢ₊₁ over the rings, about a point of the face, which keeps full precision far from
        the origin. (Sutherland, Sproull, Schumacker 1974.)
        """
        if not len(self.face_class):
            return np.zeros((0, 3))
        first = self.index_start[self.ring_start[:-1]]
        size = self.index_start[self.ring_start[1:]] - first
        columns = self.vertices.T[:, self.indices]  # the three coordinates apart: far faster than np.cross
        px, py, pz = columns - np.repeat(columns[:, first], size, axis=1)
        following = self.next_index
        qx, qy, qz = px[following], py[following], pz[following]
        cross = (py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx)
        return 0.5 * np.stack([np.add.reduceat(component, first) for component in cross], axis=1)


def from_sizes(
    vertices: Float,
    indices: Sequence[int] | Int,
    ring_sizes: Sequence[int] | Int,
    rings_per_face: Sequence[int] | Int,
    faces_per_body: Sequence[int] | Int,
    face_class: Sequence[int] | NDArray[np.uint8],
    appearance: Appearance | None = None,
) -> Bodies:
    """Make bodies from flat lists of sizes, as a reader gathers them."""
    return Bodies(
        vertices=np.ascontiguousarray(vertices, np.float64).reshape(-1, 3),
        indices=np.asarray(indices, np.int64),
        index_start=_offsets(ring_sizes),
        ring_start=_offsets(rings_per_face),
        face_start=_offsets(faces_per_body),
        face_class=np.asarray(face_class, np.uint8),
        appearance=appearance,
    )


def empty() -> Bodies:
    """Return no bodies."""
    return from_sizes(np.empty((0, 3)), [], [], [], [], [])


def select(bodies: Bodies, keep: Bool | Int) -> Bodies:
    """Return the bodies of a mask or of positions; vertices stay as they are."""
    wanted = np.flatnonzero(keep) if keep.dtype == bool else np.asarray(keep, np.int64)
    faces = _ranges(bodies.face_start, wanted)
    return _with_faces(bodies, faces, np.diff(bodies.face_start)[wanted])


def concatenate(parts: Sequence[Bodies]) -> Bodies:
    """Put batches together in order."""
    if not parts:
        return empty()
    shifts = np.cumsum([0, *(len(p.vertices) for p in parts[:-1])])
    return from_sizes(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate([p.indices + shift for p, shift in zip(parts, shifts, strict=True)]),
        np.concatenate([np.diff(p.index_start) for p in parts]),
        np.concatenate([np.diff(p.ring_start) for p in parts]),
        np.concatenate([np.diff(p.face_start) for p in parts]),
        np.concatenate([p.face_class for p in parts]),
        _joined(parts),
    )


def _joined(parts: Sequence[Bodies]) -> Appearance | None:
    if all(p.appearance is None for p in parts):
        return None
    return joined([p.appearance or plain(len(p.face_class), len(p.indices)) for p in parts])


def _offsets(sizes: Sequence[int] | Int) -> Int:
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    return starts


def _ranges(starts: Int, wanted: Int) -> Int:
    """Return the members of the groups `wanted`, group after group."""
    return ranges(starts[wanted], starts[wanted + 1] - starts[wanted])


def ranges(start: Int, length: Int) -> Int:
    """Return start[0], start[0]+1, … for length[0] steps, then the same for each further group."""
    ends = np.cumsum(length)
    if not len(ends) or not ends[-1]:
        return np.empty(0, np.int64)
    return np.repeat(start - (ends - length), length) + np.arange(ends[-1])


def _with_faces(bodies: Bodies, faces: Int, faces_per_body: Int) -> Bodies:
    rings = _ranges(bodies.ring_start, faces)
    indices = _ranges(bodies.index_start, rings)
    return Bodies(
        vertices=bodies.vertices,
        indices=bodies.indices[indices],
        index_start=_offsets(np.diff(bodies.index_start)[rings]),
        ring_start=_offsets(np.diff(bodies.ring_start)[faces]),
        face_start=_offsets(faces_per_body),
        face_class=bodies.face_class[faces],
        appearance=bodies.appearance and bodies.appearance.pick(faces, indices),
    )


def reversed_faces(bodies: Bodies, wrong: Bool) -> Bodies:
    """Return the bodies with every ring of the `wrong` ones run through the other way."""
    ring = bodies.ring_of_index
    mirrored = bodies.index_start[ring] + bodies.index_start[ring + 1] - 1 - np.arange(len(bodies.indices))
    source = np.where(wrong[bodies.body_of_index], mirrored, np.arange(len(bodies.indices)))
    looks = bodies.appearance
    turned = looks and replace(looks, uv=looks.uv[source])
    return replace(bodies, indices=bodies.indices[source], appearance=turned)
