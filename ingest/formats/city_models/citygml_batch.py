"""A batch of city objects as CityGML gives them: faces of rings, then arrays, x before y."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import shapely

from cim.features import Features, Refusal
from cim.geometry.appearance import Appearance, Paint
from cim.geometry.body_batch import Bodies, Float, from_sizes
from ingest.formats.city_models.citygml_appearance import FaceLook

_NOWHERE = (0.0, 0.0)  # in an image


@dataclass
class Faces:
    """The faces of one geometry."""

    rings: list[list[int]] = field(default_factory=list)  # sizes of the rings of each face
    classes: list[int] = field(default_factory=list)
    points: list[list[float]] = field(default_factory=list)  # ring after ring, in the order of the file's axes
    offsets: list[list[float]] = field(default_factory=list)  # of a template's points, easting first; else none
    paints: list[Paint | None] = field(default_factory=list)  # of each face; none where no face has one
    uv: list[Sequence[float]] = field(default_factory=list)  # of each point; none where no face has a paint

    def add(self, rings: list[list[list[float]]], turned: bool, index: int, look: FaceLook | None) -> None:
        """Add a face; a turned one runs the other way."""
        step = -1 if turned else 1
        if look and not self.paints:
            self.paints = [None] * len(self.rings)
            self.uv = [_NOWHERE] * len(self.points)
        self.points += [p for ring in rings for p in ring[::step]]
        self.rings.append([len(ring) for ring in rings])
        self.classes.append(index)
        if self.paints or look:
            self.paints.append(look.paint if look else None)
            places = (look and look.places) or [[_NOWHERE] * len(ring) for ring in rings]
            self.uv += [st for ring in places for st in ring[::step]]


@dataclass
class Gathered:
    """What a batch grows by."""

    ids: list[str | None] = field(default_factory=list)
    attributes: list[dict[str, Any]] = field(default_factory=list)
    object_class: list[str | None] = field(default_factory=list)
    parent_id: list[str | None] = field(default_factory=list)
    plane: dict[int, Any] = field(default_factory=dict)  # record → shapely geometry without faces
    bodies: list[tuple[int, str, Faces]] = field(default_factory=list)  # record, level of detail, faces
    refused: list[Refusal] = field(default_factory=list)
    warnings: dict[str, list[str]] = field(default_factory=dict)

    def warn(self, warning: str, identifier: str | None = None) -> None:
        """Note what was dropped, of an object or of the file."""
        self.warnings.setdefault(warning, []).extend([identifier] if identifier else [])

    def batch(self, swapped: bool) -> Features:
        """Return the records, x before y."""
        geometry = np.full(len(self.ids), None, object)
        for record, shape in self.plane.items():
            geometry[record] = _flipped(shape) if swapped else shape
        faces = [face for _, _, face in self.bodies]
        vertices = _array([p for f in faces for p in f.points])[:, [1, 0, 2] if swapped else [0, 1, 2]]
        if any(f.offsets for f in faces):
            vertices += _array([p for f in faces for p in f.offsets or [[0.0] * 3] * len(f.points)])
        return Features(
            ids=self.ids,
            attributes=self.attributes,
            geometry=geometry,
            object_class=self.object_class,
            parent_id=self.parent_id,
            bodies=_bodies(vertices, faces),
            body_record=np.array([record for record, _, _ in self.bodies], np.int64),
            body_lod=[lod for _, lod, _ in self.bodies],
            refused=tuple(self.refused),
            warnings={warning: tuple(ids) for warning, ids in self.warnings.items()},
        )


def _array(points: list[list[float]]) -> Float:
    return np.fromiter(chain.from_iterable(points), np.float64, 3 * len(points)).reshape(-1, 3)


def _bodies(vertices: Float, faces: list[Faces]) -> Bodies:
    rings = list(chain.from_iterable(f.rings for f in faces))
    return from_sizes(
        vertices,
        np.arange(len(vertices)),
        list(chain.from_iterable(rings)),
        [len(sizes) for sizes in rings],
        [len(f.rings) for f in faces],
        list(chain.from_iterable(f.classes for f in faces)),
        _appearance(faces),
    )


def _appearance(faces: list[Faces]) -> Appearance | None:
    if not any(f.paints for f in faces):
        return None
    number: dict[Paint | None, int] = {}
    of_face = [number.setdefault(paint, len(number)) for f in faces for paint in f.paints or [None] * len(f.rings)]
    uv = [st for f in faces for st in f.uv or [_NOWHERE] * len(f.points)]
    paints = tuple(paint for paint in number if paint)
    place = dict(zip(paints, range(len(paints)), strict=True))
    renumbered = np.array([place[paint] if paint else -1 for paint in number], np.int64)
    return Appearance(paints, renumbered[of_face], np.array(uv, np.float32).reshape(-1, 2))


def _flipped(shape: Any) -> Any:
    return shapely.transform(shape, lambda p: p[:, [1, 0, *range(2, p.shape[1])]], include_z=bool(shapely.has_z(shape)))
