"""Levels of detail of a cell of features with bodies: what is shown from near, and what stands for it from afar.

`detail` is each feature's highest level of detail. `blocks` are prisms over footprints as high as the body's mean
roof; `coarse` and `far` keep only what is large, simplified. The geometric error of each is computed from what it
leaves out, in metres.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cim.catalog.model import Layer
from cim.geometry import extrusion, measures, outlines, triangulation
from cim.geometry.appearance import Appearance
from cim.geometry.body_batch import GROUND, ROOF, Bodies, Bool, Float
from cim.geometry.canonical import canonical
from cim.geometry.stored_form import decode
from tiles.encode.gltf import Primitive, encode_glb
from tiles.encode.textures import ImagePath, Texture, lay_out, paint_color
from tiles.frame import Frame
from tiles.plan.quadtree import Cell, east_north_up, ecef, inverse_rigid

# Material of each group of faces, with a colour for clients that have no shader of ours (linear RGB).
MATERIALS = {"RoofSurface": (0.30, 0.11, 0.07), "WallSurface": (0.80, 0.78, 0.73)}
WHITE = (1.0, 1.0, 1.0)
SMALL_M = {"coarse": 8.0, "far": 14.0}  # what is smaller than this in height and width is left out
SIMPLIFIED_M = {"coarse": 1.5, "far": 4.0}


@dataclass(frozen=True)
class Members:
    """The features of a cell, by id, with what their tiles need."""

    ids: list[str]
    columns: dict[str, Sequence[Any]]  # public fields
    footprints: NDArray[Any]  # shapely, the city's CRS
    bodies: Bodies  # highest level of detail, one a feature


@dataclass(frozen=True)
class Content:
    """A tile's content and what its parent must know of it."""

    glb: bytes
    region: tuple[float, float, float, float, float, float]  # west, south, east, north in radians, heights in metres
    error_m: float


def members(rows: Sequence[Sequence[Any]], layer: Layer) -> Members:
    """Make members of rows (id, footprint WKB, faces, public fields…)."""
    columns = list(zip(*rows, strict=True))
    fields = [f.name for f in layer.public_fields]
    return Members(
        ids=list(columns[0]),
        columns=dict(zip(fields, columns[3:], strict=True)),
        footprints=np.asarray(shapely.from_wkb(columns[1])),
        bodies=decode(columns[2]),
    )


def build(level: str, features: Members, cell: Cell, layer: Layer, frame: Frame, path_of: ImagePath) -> Content | None:
    """Build the content of a cell at a level of detail; None if nothing of it is large enough to be seen.

    Images are for `detail` alone; `path_of` tells where each lies, by its SHA-256.
    """
    if level == "detail":
        return _content(features.bodies, features, np.arange(len(features.ids)), 0.0, cell, layer, frame, path_of)
    top, error_m = _mean_roofs(features.bodies)
    low, _ = measures.z_ranges(features.bodies)
    footprints = shapely.force_2d(features.footprints)
    keep = np.ones(len(features.ids), bool)
    error = float(error_m.max(initial=0.0))
    if level in SMALL_M:
        size = np.maximum(top - low, np.sqrt(shapely.area(footprints)))
        keep = size >= SMALL_M[level]
        footprints = shapely.simplify(footprints, SIMPLIFIED_M[level])
        error = max(error, float(size[~keep].max(initial=0.0)), SIMPLIFIED_M[level])
    keep &= (top - low > 0.05) & (shapely.area(footprints) > 0)
    if not keep.any():
        return None
    shown = np.flatnonzero(keep)
    outcome = canonical(extrusion.extrude(outlines.as_multipolygons(footprints[shown]), low[shown], (top - low)[shown]))
    return _content(outcome.bodies, features, shown[outcome.valid], max(error, 0.05), cell, layer, frame, path_of)


def _mean_roofs(bodies: Bodies) -> tuple[Float, Float]:
    """Return where each body's block ends, at its mean roof, and how far the roof departs from that, in metres."""
    roof = measures.surface_classes(bodies) == ROOF
    low, high = measures.z_ranges(bodies)
    first = bodies.index_start[bodies.ring_start[:-1]]
    z = bodies.vertices[bodies.indices, 2]
    face_z = np.add.reduceat(z, first) / np.diff(np.append(first, len(z)))
    face_low = np.minimum.reduceat(z, first)
    body, weight = bodies.body_of_face, np.abs(bodies.area_vectors[:, 2]) * roof
    total = np.bincount(body, weight, minlength=len(bodies))
    mean = np.bincount(body, weight * face_z, minlength=len(bodies)) / np.maximum(total, 1e-9)
    top = np.where(total > 1e-6, mean, high)
    eaves = np.full(len(bodies), np.inf)
    np.minimum.at(eaves, body[roof], face_low[roof])
    eaves = np.where(np.isfinite(eaves), eaves, top)
    return np.maximum(top, low), np.maximum(high - top, top - eaves)


def _content(
    bodies: Bodies,
    features: Members,
    feature: NDArray[np.int64],
    error: float,
    cell: Cell,
    layer: Layer,
    frame: Frame,
    path_of: ImagePath,
) -> Content:
    lon, lat, height = frame.globe(bodies.vertices)
    to_local = inverse_rigid(east_north_up(*cell.centre))
    local = ecef(lon, lat, height) @ to_local[:3, :3].T + to_local[:3, 3]
    columns: dict[str, Sequence[Any]] = {"id": [features.ids[f] for f in feature]}
    columns |= {name: [values[f] for f in feature] for name, values in features.columns.items()}
    used = bodies.indices
    region = (
        *np.radians([lon[used].min(), lat[used].min(), lon[used].max(), lat[used].max()]).tolist(),
        float(height[used].min()),
        float(height[used].max()),
    )
    return Content(encode_glb(_primitives(bodies, local, path_of), layer, columns), region, error)


def _primitives(bodies: Bodies, local: Float, path_of: ImagePath) -> list[Primitive]:
    """Cut bodies into triangles of two materials; each face has corners of its own, so that it is lit flat.

    Faces that the source gave a colour or an image have that instead.
    """
    cut = Cut(bodies, local)
    classes = measures.surface_classes(bodies)
    shown = (classes != GROUND) & ~cut.degenerate
    painted = bodies.appearance.face_paint >= 0 if bodies.appearance else np.zeros(len(classes), bool)
    primitives = []
    for material, color in MATERIALS.items():
        of_material = (classes == ROOF) if material == "RoofSurface" else (classes != ROOF)
        primitives.append(cut.primitive(shown & of_material & ~painted, material, color))
    if bodies.appearance and painted.any():
        primitives += _painted(cut, bodies.appearance, shown & painted, path_of)
    return primitives


def _painted(cut: "Cut", looks: Appearance, shown: Bool, path_of: ImagePath) -> list[Primitive]:
    """Return the faces that the source gave a look: those with images by image, the others by their opacity."""
    primitives = []
    layers, uv = lay_out(cut.in_tile, shown, path_of)
    for number, layer in enumerate(layers):
        faces = np.zeros(len(shown), bool)
        faces[layer.faces] = True
        primitives.append(cut.primitive(faces, f"Image {number + 1}", WHITE, uv=uv, texture=layer.texture))
    colors = np.array([paint_color(paint) for paint in looks.paints], np.float32)
    imaged = np.array([bool(paint.image) for paint in looks.paints])[looks.face_paint]
    opaque = colors[looks.face_paint, 3] >= 1
    for name, faces in (("Colour", opaque), ("Glass", ~opaque)):
        primitives.append(cut.primitive(shown & ~imaged & faces, name, WHITE, colors=colors[looks.face_paint]))
    return primitives


class Cut:
    """Bodies cut into triangles, about the centre of their tile."""

    def __init__(self, bodies: Bodies, local: Float) -> None:
        self.bodies, self.local = bodies, local
        self.in_tile = replace(bodies, vertices=local)
        vectors = self.in_tile.area_vectors
        lengths = np.linalg.norm(vectors, axis=1)
        self.degenerate = lengths < 1e-9
        self._normals = vectors / np.maximum(lengths, 1e-12)[:, None]
        self._triangles, self._face = triangulation.triangulate(self.in_tile)
        self._low, _ = measures.z_ranges(bodies)
        self._face_of_index = bodies.face_of_ring[bodies.ring_of_index]

    def primitive(
        self,
        faces: Bool,
        material: str,
        color: tuple[float, float, float],
        *,
        uv: NDArray[np.float32] | None = None,
        texture: Texture | None = None,
        colors: NDArray[np.float32] | None = None,
    ) -> Primitive:
        """Return the triangles of some faces.

        Args:
            faces: (F,) which.
            material: its name.
            color: linear RGB.
            uv: (I, 2) of all indices.
            texture: the image that they refer to.
            colors: (F, 4) of each face, linear.

        """
        selected = self._triangles[faces[self._face]]
        corners, renumbered = np.unique(selected, return_inverse=True)
        corner_face = self._face_of_index[corners]
        body = self.bodies.body_of_face[corner_face]
        vertex = self.bodies.indices[corners]
        return Primitive(
            material=material,
            color=color,
            positions=_y_up(self.local[vertex]),
            normals=_y_up(self._normals[corner_face]),
            features=body.astype(np.float32),
            heights=(self.bodies.vertices[vertex, 2] - self._low[body]).astype(np.float32),
            triangles=renumbered.reshape(-1, 3).astype(np.uint32),
            uv=None if uv is None else uv[corners],
            texture=texture,
            colors=None if colors is None else colors[corner_face],
        )


def _y_up(vectors: Float) -> NDArray[np.float32]:
    """Return east, north, up as glTF has it: y up, z south."""
    turned = np.stack([vectors[:, 0], vectors[:, 2], -vectors[:, 1]], axis=1).astype(np.float32)
    return np.asarray(turned + np.float32(0.0))  # no negative zeros: the same content has the same bytes
