"""The appearance module of CityGML 1 to 3: colours and images by the ids of polygons, rings and groups of them."""

import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cim.geometry.appearance import Paint, Wrap
from cim.messages import say
from ingest.formats.city_models.citygml_attributes import XLINK
from ingest.formats.city_models.images import beside
from ingest.formats.xml_stream import Element, children, local_name

GEOREFERENCED = say("images-laid-over-ground")
UNFIT = say("texture-coordinates-not-fit-surface")
_WRAPS: Mapping[str, Wrap] = {"wrap": "repeat", "mirror": "mirror"}

Ring = list[list[float]]


@dataclass(frozen=True)
class FaceLook:
    """How one face looks: its paint, and a place in the image for each point of each ring."""

    paint: Paint
    places: Sequence[Sequence[Sequence[float]]] | None = None


@dataclass(frozen=True)
class _Target:
    """What the file says of one surface: the paint, and texture coordinates by ring, or a way to compute them."""

    paint: Paint
    of_ring: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    matrix: NDArray[np.float64] | None = None  # (3, 4) from coordinates of the world to s, t, q


class Looks:
    """What a file, or one object of it, says of how surfaces look; what a theme says first holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._images: dict[str, _Target] = {}
        self._colours: dict[str, _Target] = {}
        self.warnings: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._images or self._colours)

    def read(self, appearance: Element) -> None:
        """Take in an Appearance; a part that can't be read is left out."""
        for element in appearance.iter():
            name = local_name(element)
            try:
                if name == "X3DMaterial":
                    self._material(element)
                elif name == "ParameterizedTexture":
                    self._texture(element)
                elif name == "GeoreferencedTexture":
                    self.warnings.add(GEOREFERENCED)
            except (ValueError, TypeError, AttributeError):
                self.warnings.add(UNFIT)

    def _material(self, element: Element) -> None:
        parts = {local_name(child): (child.text or "").strip() for child in element}
        if parts.get("isFront") in ("false", "0"):
            return
        red, green, blue = (min(1.0, max(0.0, float(v))) for v in parts.get("diffuseColor", "0.8 0.8 0.8").split())
        paint = Paint((red, green, blue), 1.0 - min(1.0, max(0.0, float(parts.get("transparency") or 0.0))))
        for child in element:
            if local_name(child) == "target":
                self._colours.setdefault(_identifier(child), _Target(paint))

    def _texture(self, element: Element) -> None:
        parts = {local_name(child): (child.text or "").strip() for child in element}
        image = beside(self._path, parts.get("imageURI", ""))
        if not image:
            return
        paint = Paint(image=image, wrap=_WRAPS.get(parts.get("wrapMode", ""), "clamp"))
        for child in element.iter():
            if local_name(child) == "target" and child.get("uri"):  # 1.0 and 2.0
                self._images.setdefault(_identifier(child), _parameters(paint, child))
            elif local_name(child) == "TextureAssociation":  # 3.0
                for inner in child:
                    if local_name(inner) == "target":
                        self._images.setdefault(_identifier(inner), _parameters(paint, child))

    def of(self, polygon: Element, rings: Sequence[Ring]) -> FaceLook | None:
        """Return the look of a polygon: said of itself or of what it belongs to; an image before a colour."""
        colour = None
        for element in (polygon, *polygon.iterancestors()):
            for key in element.attrib:
                if not key.endswith("}id"):
                    continue
                image = self._images.get(element.get(key))
                if image and (places := _places(image, polygon, rings)):
                    return FaceLook(image.paint, places)
                if image:
                    self.warnings.add(UNFIT)
                colour = colour or self._colours.get(element.get(key))
        return FaceLook(colour.paint) if colour else None


def _identifier(target: Element) -> str:
    reference = target.get("uri") or target.get(XLINK) or target.text or ""
    return reference.strip().rpartition("#")[2]


def _parameters(paint: Paint, element: Element) -> _Target:
    of_ring: dict[str, NDArray[np.float32]] = {}
    matrix = None
    waiting: list[NDArray[np.float32]] = []  # 3.0 names the ring behind its coordinates
    for child in element.iter():
        name = local_name(child)
        if name == "textureCoordinates":
            places = np.array((child.text or "").split(), np.float32).reshape(-1, 2)
            if child.get("ring"):
                of_ring[child.get("ring").rpartition("#")[2]] = places
            else:
                waiting.append(places)
        elif name == "ring" and waiting:
            of_ring[_identifier(child)] = waiting.pop(0)
        elif name == "worldToTexture":
            matrix = np.array((child.text or "").split(), np.float64).reshape(3, 4)
    return _Target(paint, of_ring, matrix)


def _places(target: _Target, polygon: Element, rings: Sequence[Ring]) -> list[list[list[float]]] | None:
    if target.matrix is not None:
        return [_projected(target.matrix, ring) for ring in rings]
    identifiers = [
        next((value for key, value in ring.attrib.items() if key.endswith("}id")), "")
        for ring in polygon.iter()
        if local_name(ring) == "LinearRing"
    ]
    places = [target.of_ring.get(identifier) for identifier in identifiers]
    if len(places) != len(rings):
        return None
    coordinates = []
    for place, ring in zip(places, rings, strict=True):
        if place is None or len(place) not in (len(ring), len(ring) + 1) or not np.isfinite(place).all():
            return None
        coordinates.append(place[: len(ring)].tolist())
    return coordinates


def _projected(matrix: NDArray[np.float64], ring: Ring) -> list[list[float]]:
    s, t, q = matrix @ np.c_[np.array(ring), np.ones(len(ring))].T
    return np.stack([s / q, t / q], axis=1).tolist()  # type: ignore[no-any-return]


def looks_of_file(path: Path) -> Looks:
    """Return what the file says of surfaces outside its objects, wherever in the file that stands.

    Raises:
        UnreadableFile: not XML, or cut short.

    """
    looks = Looks(path)
    if path.stat().st_size == 0:
        return looks
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        if text.find(b"appearanceMember") < 0:
            return looks
    for element in children(path):
        if local_name(element) == "appearanceMember":
            looks.read(element)
    return looks
