"""The stored form of bodies, and the hash that names it.

One body (`cim.body.faces`), little-endian:

| part | type | length |
|---|---|---|
| version, vertices nv, indices ni, rings nr, faces nf | uint32 | 5 |
| vertices x, y, z in the city's CRS and vertical datum | float64 | 3 nv |
| indices of the rings' vertices, ring after ring | uint32 | ni |
| vertices of each ring | uint32 | nr |
| rings of each face, its outer ring first | uint32 | nf |
| semantic class of each face, index into `SURFACE_CLASSES` | uint8 | nf |

Version 2 is a body whose faces have colours or images: behind this stands what cim.geometry.appearance documents.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from cim.geometry.appearance import Appearance, decode_appearance, encode_appearance, joined, plain
from cim.geometry.body_batch import Bodies, Int, empty, from_sizes, ranges

PLAIN, PAINTED = 1, 2  # versions of the stored form


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


def _first_vertex(bodies: Bodies, index_start: Int) -> Int:
    """Return where each body's vertices begin, (B+1,), for canonical bodies."""
    if not len(bodies):
        return np.zeros(1, np.int64)
    return np.append(bodies.indices[index_start[:-1]], bodies.indices.max(initial=-1) + 1)
