"""The appearance of CityJSON: the materials and textures of a document, and which faces of a geometry have them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cim.geometry.appearance import Appearance, Paint, Wrap
from cim.messages import say
from ingest.formats.city_models.images import beside

UNREADABLE_LOOKS = say("materials-textures-not-fit-surfaces")
WRAPS: Mapping[str, Wrap] = {"wrap": "repeat", "mirror": "mirror"}
_UNREADABLE = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)


@dataclass(frozen=True)
class Looks:
    """The appearance of one geometry, and whether a part of it couldn't be read."""

    appearance: Appearance
    faulty: bool = False


@dataclass(frozen=True)
class Palette:
    """The paints of a document, materials before textures."""

    paints: tuple[Paint, ...] = ()
    materials: int = 0  # how many of the paints
    uv: NDArray[np.float32] | None = None  # (n, 2)
    first_themes: tuple[str, ...] = ()  # the default ones

    def looks(self, geometry: Mapping[str, Any], faces: Sequence[Any]) -> Looks | None:
        """Return the appearance of a geometry: a texture rather than a material, of the default theme or the first.

        Args:
            geometry: as it stands in the document.
            faces: its faces, each a list of rings of vertex numbers.

        """
        if not (geometry.get("material") or geometry.get("texture")):
            return None
        face_paint = np.full(len(faces), -1, np.int64)
        uv = np.zeros((sum(map(len, chain.from_iterable(faces))), 2), np.float32)
        ways = (("material", self._materials), ("texture", self._textures))
        faulty = False
        for member, way in ways:
            try:
                way(geometry["type"], self._by_theme(geometry.get(member)), faces, face_paint, uv)
            except _UNREADABLE:
                faulty = True
        return Looks(Appearance(self.paints, face_paint, uv), faulty)

    def _by_theme(self, themes: Mapping[str, Any] | None) -> Iterator[Any]:
        """Yield what each theme says, the one to be shown last: it paints over the others."""
        named = themes or {}
        ordered = sorted(named, key=lambda name: name not in self.first_themes)
        yield from (named[name] for name in reversed(ordered))

    def _materials(
        self, kind: str, themes: Iterator[Any], faces: Sequence[Any], face_paint: NDArray[np.int64], _: Any
    ) -> None:
        for theme in themes:
            values = [theme["value"]] * len(faces) if "value" in theme else unnested(kind, theme["values"])
            numbers = np.array([-1 if value is None else value for value in values], np.int64)
            if len(numbers) != len(faces) or (numbers >= self.materials).any() or (numbers < -1).any():
                raise ValueError
            face_paint[numbers >= 0] = numbers[numbers >= 0]

    def _textures(
        self,
        kind: str,
        themes: Iterator[Any],
        faces: Sequence[Any],
        face_paint: NDArray[np.int64],
        uv: NDArray[np.float32],
    ) -> None:
        if self.uv is None:
            return
        for theme in themes:
            values = unnested(kind, theme["values"])
            if len(values) != len(faces):
                raise ValueError
            begin = 0
            for number, (face, rings) in enumerate(zip(faces, values, strict=True)):
                size = sum(map(len, face))
                if rings and rings[0] and rings[0][0] is not None:
                    texture = self.materials + rings[0][0]
                    places = np.array([place for ring in rings for place in ring[1:]], np.int64)
                    if not self.materials <= texture < len(self.paints) or len(places) != size or places.min() < 0:
                        raise ValueError
                    uv[begin : begin + size] = self.uv[places]
                    face_paint[number] = texture
                begin += size


def read_palette(appearance: Mapping[str, Any] | None, path: Path) -> Palette:
    """Return the paints of a document's `appearance`; what can't be read of it is left out."""
    if not isinstance(appearance, dict):
        return Palette()
    try:
        materials = [_material(entry) for entry in appearance.get("materials") or []]
        textures = [_texture(entry, path) for entry in appearance.get("textures") or []]
        uv = np.asarray(appearance.get("vertices-texture") or np.empty((0, 2)), np.float32)
    except _UNREADABLE:
        return Palette()
    themes = [appearance.get(f"default-theme-{kind}") for kind in ("texture", "material")]
    usable = uv.ndim == 2 and uv.shape[1] == 2 and np.isfinite(uv).all()
    return Palette(
        (*materials, *textures), len(materials), uv if usable else None, tuple(t for t in themes if isinstance(t, str))
    )


def _material(entry: Mapping[str, Any]) -> Paint:
    red, green, blue = (min(1.0, max(0.0, float(part))) for part in entry.get("diffuseColor") or (0.8, 0.8, 0.8))
    return Paint((red, green, blue), 1.0 - min(1.0, max(0.0, float(entry.get("transparency") or 0.0))))


def _texture(entry: Mapping[str, Any], path: Path) -> Paint:
    return Paint(image=beside(path, str(entry["image"])), wrap=WRAPS.get(str(entry.get("wrapMode")), "clamp"))


def unnested(kind: str, nested: list[Any]) -> list[Any]:
    """Return what stands one a face in a geometry of a type: its faces, or the values that they have, at any depth.

    Raises:
        ValueError: CityJSON has no such type.

    """
    flat = _DEPTHS.get(kind)
    if flat is None:
        raise ValueError(say("geometry-type-not-one-cityjson", kind=kind))
    return flat(nested)


def _of_solid(nested: list[Any]) -> list[Any]:
    return nested[0] if len(nested) == 1 else list(chain.from_iterable(nested))


def _of_solids(nested: list[Any]) -> list[Any]:
    return [item for solid in nested for shell in solid for item in shell]


_DEPTHS: Mapping[str, Callable[[list[Any]], list[Any]]] = {
    "MultiSurface": lambda nested: nested,
    "CompositeSurface": lambda nested: nested,
    "Solid": _of_solid,
    "MultiSolid": _of_solids,
    "CompositeSolid": _of_solids,
}
