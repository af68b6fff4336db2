"""How the faces of bodies look: colours, and images laid over them; and the stored form of both.

Stored form, behind that of the body itself (`cim.geometry.stored_form`), little-endian:

| part | type | length |
|---|---|---|
| paint of each face, counted from 1; 0: none | uint16 | nf |
| texture coordinates s, t of each index of a ring; (0, 0) is the image's lower left corner | float32 | 2 ni |
| the paints, as JSON | UTF-8 | the rest |
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Wrap = Literal["clamp", "repeat", "mirror"]

MOST_PAINTS = 65_535  # of one body


@dataclass(frozen=True)
class Paint:
    """A colour, and the image over it where there is one."""

    color: tuple[float, float, float] = (1.0, 1.0, 1.0)  # sRGB, 0 to 1
    opacity: float = 1.0
    image: str = ""  # its SHA-256 in the asset store; while its file is read: its path
    wrap: Wrap = "clamp"  # what stands beyond the image's edge


@dataclass(frozen=True)
class Appearance:
    """The paints of a batch's faces, F in all, and the texture coordinates of its I indices."""

    paints: tuple[Paint, ...]
    face_paint: NDArray[np.int64]  # (F,) index into `paints`; -1: none
    uv: NDArray[np.float32]  # (I, 2) s, t

    def pick(self, faces: NDArray[np.int64], indices: NDArray[np.int64]) -> "Appearance":
        """Return the appearance of some faces, whose rings have the indices at `indices`."""
        return Appearance(self.paints, self.face_paint[faces], self.uv[indices])


def plain(faces: int, indices: int) -> Appearance:
    """Return the appearance of faces that have none."""
    return Appearance((), np.full(faces, -1, np.int64), np.zeros((indices, 2), np.float32))


def joined(parts: Sequence[Appearance]) -> Appearance:
    """Put appearances together in order."""
    number: dict[Paint, int] = {}
    faces = []
    for part in parts:
        places = np.array([number.setdefault(paint, len(number)) for paint in part.paints] + [-1], np.int64)
        faces.append(places[part.face_paint])
    return Appearance(tuple(number), np.concatenate(faces), np.concatenate([part.uv for part in parts]))


def encode_appearance(appearance: Appearance, faces: slice, indices: slice) -> bytes:
    """Return the stored form of one body's appearance; empty where no face of it has a paint."""
    used = appearance.face_paint[faces]
    if (used < 0).all():
        return b""
    order = list(dict.fromkeys(used[used >= 0].tolist()))
    numbers = np.zeros(len(appearance.paints) + 1, "<u2")
    numbers[order] = np.arange(1, len(order) + 1)
    text = json.dumps([asdict(appearance.paints[p]) for p in order], separators=(",", ":"))
    return b"".join((numbers[used].tobytes(), appearance.uv[indices].astype("<f4").tobytes(), text.encode()))


def decode_appearance(stored: bytes, faces: int, indices: int) -> Appearance:
    """Return the appearance of a stored form.

    Raises:
        ValueError: it is cut short.

    """
    end = 2 * faces + 8 * indices
    face_paint = np.frombuffer(stored, "<u2", faces).astype(np.int64) - 1
    uv = np.frombuffer(stored, "<f4", 2 * indices, offset=2 * faces).reshape(-1, 2)
    paints = [paint | {"color": tuple(paint["color"])} for paint in json.loads(stored[end:])]
    return Appearance(tuple(Paint(**paint) for paint in paints), face_paint, uv)
