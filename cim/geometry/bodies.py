"""Batches of 3D bodies: thousands of boundary representations in a handful of arrays, and their stored form.

Stored form of one body (`cim.body.faces`), little-endian:

| part | type | length |
|---|---|---|
| version, vertices nv, indices ni, rings nr, faces nf | uint32 | 5 |
| vertices x, y, z in the city's CRS and vertical datum | float64 | 3 nv |
| indices of the rings' vertices, ring after ring | uint32 | ni |
| vertices of each ring | uint32 | nr |
| rings of each face, its outer ring first | uint32 | nf |
| semantic class of each face, index into `SURFACE_CLASSES` | uint8 | nf |

Version 2 is a body whose faces have colours or images: behind this stands what cim.appearance documents.

A canonical body numbers its vertices in the order in which its rings first use them, so that the same body has the
same hash whatever file it came from.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from cim.geometry.appearance import Appearance, decode_appearance, encode_appearance, joined, plain

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

PLAIN, PAINTED = 1, 2  # versions of the stored form
FARTHEST_M = 1e9
RESOLUTION_M = 1e-4  # vertices are stored on this raster: a tenth of a millimetre


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


@dataclass(frozen=True)
class Canonical:
    """What became of a batch: the bodies that stand, which those are, and what had to be dropped from them."""

    bodies: Bodies
    kept: Bool  # (B,) of the input
    dropped_faces: Int  # (B,) of the input: faces with fewer than three distinct points


def on_earth(vertices: Float) -> Bool:
    """Return which vertices (n, 3) are numbers that can be places: no city's coordinates reach a million kilometres."""
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(vertices) < FARTHEST_M).all(axis=1))


def canonical(bodies: Bodies) -> Canonical:
    """Put vertices on the raster, drop degenerate rings and faces, number vertices by first use.

    A body with a vertex that isn't finite, or without a face of three distinct points, isn't kept.
    """
    count = len(bodies)
    body = bodies.body_of_index
    finite = np.ones(count, bool)
    bad = ~on_earth(bodies.vertices)
    if bad.any():
        finite[body[bad[bodies.indices]]] = False
    raster = np.rint(np.where(bad[:, None], 0.0, bodies.vertices) / RESOLUTION_M).astype(np.int64)
    place = _number_rows(raster)[bodies.indices]  # one number a place, whatever vertex names it

    keep_index = place != place[bodies.next_index]
    ring_sizes = np.add.reduceat(np.append(keep_index, False).astype(np.int64), bodies.index_start[:-1])
    ring_sizes[np.diff(bodies.index_start) == 0] = 0
    keep_ring = ring_sizes >= 3
    outer = np.zeros(len(ring_sizes), bool)
    outer[bodies.ring_start[:-1]] = True
    face_of_ring = bodies.face_of_ring
    keep_face = np.ones(len(bodies.face_class), bool)
    keep_face[face_of_ring[outer & ~keep_ring]] = False
    body_of_face = bodies.body_of_face
    keep_face &= finite[body_of_face]
    keep_ring &= keep_face[face_of_ring]
    keep_index &= keep_ring[bodies.ring_of_index]

    faces_per_body = np.bincount(body_of_face[keep_face], minlength=count)
    kept = faces_per_body > 0
    indices, first = _number(body[keep_index] * len(raster) + place[keep_index])
    standing = from_sizes(
        raster[bodies.indices[keep_index][first]] * RESOLUTION_M,
        indices,
        ring_sizes[keep_ring],
        np.bincount(face_of_ring[keep_ring], minlength=len(keep_face))[keep_face],
        faces_per_body[kept],
        bodies.face_class[keep_face],
        bodies.appearance and bodies.appearance.pick(np.flatnonzero(keep_face), np.flatnonzero(keep_index)),
    )
    return Canonical(standing, kept, np.bincount(body_of_face[~keep_face], minlength=count))


def encode(bodies: Bodies) -> list[bytes]:
    """Return the stored form of each body; the bodies must be canonical."""
    ring_sizes = np.diff(bodies.index_start).astype("<u4")
    rings_per_face = np.diff(bodies.ring_start).astype("<u4")
    vertices = bodies.vertices.astype("<f8")
    face_start = bodies.face_start
    ring_start = bodies.ring_start[face_start]
    index_start = bodies.index_start[ring_start]
    lows = _first_vertex(bodies, index_start)
    indices = (bodies.indices - np.repeat(lows[:-1], np.diff(index_start))).astype("<u4")
    counts = np.stack([np.diff(lows), np.diff(index_start), np.diff(ring_start), np.diff(face_start)], axis=1)
    v, i, r, f = lows.tolist(), index_start.tolist(), ring_start.tolist(), face_start.tolist()
    looks = [b""] * len(bodies)
    if bodies.appearance:
        spans = [(slice(f[b], f[b + 1]), slice(i[b], i[b + 1])) for b in range(len(bodies))]
        looks = [encode_appearance(bodies.appearance, faces, of_rings) for faces, of_rings in spans]
    header = np.insert(counts, 0, [PAINTED if look else PLAIN for look in looks], axis=1).astype("<u4")
    return [
        b"".join(
            (
                header[b].tobytes(),
                vertices[v[b] : v[b + 1]].tobytes(),
                indices[i[b] : i[b + 1]].tobytes(),
                ring_sizes[r[b] : r[b + 1]].tobytes(),
                rings_per_face[f[b] : f[b + 1]].tobytes(),
                bodies.face_class[f[b] : f[b + 1]].tobytes(),
                looks[b],
            )
        )
        for b in range(len(bodies))
    ]


def decode(blobs: Sequence[bytes]) -> Bodies:
    """Return the bodies of stored forms, in order.

    Raises:
        ValueError: a blob is of another version, or its length isn't what its header says.

    """
    if not blobs:
        return empty()
    headers = np.array([np.frombuffer(blob, "<u4", 5) for blob in blobs], np.int64)
    expected = 20 + headers[:, 1] * 24 + headers[:, 2] * 4 + headers[:, 3] * 4 + headers[:, 4] * 5
    sizes = np.array([len(blob) for blob in blobs])
    painted = headers[:, 0] == PAINTED
    if (~painted & (headers[:, 0] != PLAIN)).any() or np.where(painted, sizes <= expected, sizes != expected).any():
        raise ValueError("a stored body is of another version, or cut short")
    buffer = np.frombuffer(b"".join(blobs), np.uint8)
    start = np.concatenate([[0], np.cumsum(sizes)[:-1]]) + 20
    parts = []
    for column, width in ((1, 24), (2, 4), (3, 4), (4, 4), (4, 1)):
        length = headers[:, column] * width
        parts.append(buffer[ranges(start, length)])
        start = start + length
    vertices, indices, ring_sizes, rings_per_face, face_class = parts
    shift = np.concatenate([[0], np.cumsum(headers[:, 1])[:-1]])
    return from_sizes(
        vertices.view("<f8").reshape(-1, 3),
        indices.view("<u4").astype(np.int64) + np.repeat(shift, headers[:, 2]),
        ring_sizes.view("<u4"),
        rings_per_face.view("<u4"),
        headers[:, 4],
        face_class,
        _decoded(blobs, headers, expected) if painted.any() else None,
    )


def _decoded(blobs: Sequence[bytes], headers: Int, lengths: Int) -> Appearance:
    parts = []
    for blob, (version, _, indices, _, faces), length in zip(blobs, headers.tolist(), lengths.tolist(), strict=True):
        has = version == PAINTED
        parts.append(decode_appearance(blob[length:], faces, indices) if has else plain(faces, indices))
    return joined(parts)


def content_hash(*parts: bytes) -> bytes:
    """Return the 16-byte BLAKE2b hash that names content in the store."""
    return hashlib.blake2b(b"".join(parts), digest_size=16).digest()


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


def _number_rows(rows: Int) -> Int:
    """Return a number for each row of (n, k) integers, equal where the rows are."""
    number = np.zeros(len(rows), np.int64)
    for column in rows.T:
        other, first = _number(column)
        number, _ = _number(number * len(first) + other)
    return number


def _number(keys: Int) -> tuple[Int, Int]:
    """Return a number for each key, counted in the order in which they first come, and where each first does.

    By hashing, which takes a fifth of the time of sorting.
    """
    if not len(keys):
        return keys, keys
    column = pa.Array.from_buffers(pa.int64(), len(keys), [None, pa.py_buffer(np.ascontiguousarray(keys))])
    indices = column.dictionary_encode().indices  # by buffers: `pa.array` and `to_numpy` import pandas, a second's work
    number = np.frombuffer(indices.buffers()[1], np.int32, len(keys)).astype(np.int64)
    return number, np.flatnonzero(np.diff(np.maximum.accumulate(number), prepend=-1))


def _first_vertex(bodies: Bodies, index_start: Int) -> Int:
    """Return where each body's vertices begin, (B+1,), for canonical bodies."""
    if not len(bodies):
        return np.zeros(1, np.int64)
    return np.append(bodies.indices[index_start[:-1]], bodies.indices.max(initial=-1) + 1)
