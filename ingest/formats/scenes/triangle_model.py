"""Models as OBJ, glTF, PLY or STL: triangles into bodies, placed by an anchor, or by coordinates that a CRS names.

A file knows no place on the earth. An `anchor` says where its origin stands: longitude and latitude, or coordinates of
a declared CRS; `heading` turns it, `unit_m` scales it. Without an anchor, x and y are coordinates of the declared CRS.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from pyproj import CRS

from cim.errors import BadSettings, UnknownAnchor, UnreadableFile
from cim.features import BATCH_SIZE, Anchor, Features, Header, ReadOptions, Source
from cim.geometry.body_batch import Bodies, concatenate, from_sizes
from cim.messages import say
from cim.reference.crs import split
from ingest.formats.scenes.triangle_appearance import TOO_MANY_COLOURS, Images, appearance_of

Float = NDArray[np.float64]
LOD = "3"  # a model has no level of detail of its own; what is modelled by hand shows openings and overhangs
_Y_UP = (".glb", ".gltf")  # glTF 2.0, 3.4; the others have no rule, and surveys write z upwards
_FAULTS = (ValueError, KeyError, IndexError, TypeError, OSError, NotImplementedError, AttributeError, RuntimeError)


def read(path: Path, options: ReadOptions) -> Iterator[Source]:
    """Read a model: each of its named meshes is an object; a file with one mesh is one, called by its name.

    Raises:
        UnreadableFile: trimesh can't read it, or it holds no triangle.
        BadSettings: nothing says where it stands.

    """
    try:
        scene = trimesh.load_scene(path, process=False)
        meshes = [
            (str(name), mesh) for name, mesh in _placed(scene) if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces)
        ]
    except _FAULTS as fault:
        raise UnreadableFile(say("not-readable-model", file=path, reason=fault)) from fault
    if not meshes:
        raise UnreadableFile(say("no-triangle", file=path))
    anchor = options.anchor
    if anchor is None and options.crs is None:
        raise UnknownAnchor(say("nothing-says-where-stands", file=path))
    header = Header(crs=_crs(anchor, options, path), layer_hint=path.stem, images=Path(gettempdir()))
    yield Source(header, _batches(meshes, path, options))


def _placed(scene: Any) -> Iterator[tuple[str, Any]]:
    """Yield the scene's meshes, each where its nodes put it; a mesh that stands several times comes so often."""
    for node in sorted(scene.graph.nodes_geometry):
        matrix, name = scene.graph[node]
        mesh = scene.geometry[name].copy()
        mesh.apply_transform(matrix)
        yield node, mesh


def _crs(anchor: Anchor | None, options: ReadOptions, path: Path) -> CRS | None:
    """Return the CRS of the placed coordinates: that declared, or a plane about an anchor in degrees."""
    if anchor is None:
        return options.crs
    if options.crs is None:
        lon, lat = anchor.place[:2]
        return CRS.from_proj4(f"+proj=tmerc +lat_0={lat:.10f} +lon_0={lon:.10f} +k=1 +datum=WGS84 +units=m +type=crs")
    if split(options.crs)[0].is_geographic:
        raise BadSettings(say("anchor-degrees-where-no-crs", file=path))
    return options.crs


def _upright(path: Path, anchor: Anchor | None) -> bool:
    """Return whether the model's y is up."""
    return (anchor.up == "y") if anchor and anchor.up else path.suffix.lower() in _Y_UP


def _batches(meshes: list[tuple[str, Any]], path: Path, options: ReadOptions) -> Iterator[Features]:
    turned = _upright(path, options.anchor)
    with TemporaryDirectory() as scratch:
        for first in range(0, len(meshes), BATCH_SIZE):
            part = meshes[first : first + BATCH_SIZE]
            alone = len(meshes) == 1
            names = [path.stem if alone else f"{path.stem}/{name}" for name, _ in part]
            images = Images(Path(scratch))
            bodies = [_body(mesh, options, turned, images) for _, mesh in part]
            plain = tuple(n for n, b, (_, m) in zip(names, bodies, part, strict=True) if _many_colours(b, m))
            yield Features(
                ids=list(names),
                attributes=[{} for _ in part],
                geometry=np.full(len(part), None, object),
                object_class=[None] * len(part),
                parent_id=[None] * len(part),
                bodies=concatenate(bodies),
                body_record=np.arange(len(part)),
                body_lod=[LOD] * len(part),
                warnings={TOO_MANY_COLOURS: plain} if plain else {},
            )


def _many_colours(body: Bodies, mesh: Any) -> bool:
    return body.appearance is None and mesh.visual.kind in ("face", "vertex")


def _body(mesh: Any, options: ReadOptions, y_up: bool, images: Images) -> Bodies:
    points: Float = np.asarray(mesh.vertices, np.float64)
    if y_up:
        points = points[:, [0, 2, 1]] * [1, -1, 1]
    if options.anchor is not None:
        with np.errstate(invalid="ignore", over="ignore"):  # what isn't a number is set aside later
            points = _at_anchor(points, options.anchor, options.crs)
    faces = np.asarray(mesh.faces, np.int64)
    count = len(faces)
    return from_sizes(
        points,
        faces.ravel(),
        np.full(count, 3),
        np.ones(count, np.int64),
        [count],
        np.zeros(count, np.uint8),
        appearance_of(mesh, images),
    )


def _at_anchor(points: Float, anchor: Anchor, crs: CRS | None) -> Float:
    """Return points in the plane they are placed in, turned clockwise by the heading; z in metres."""
    turn = -np.radians(anchor.heading)
    cos, sin = np.cos(turn), np.sin(turn)
    x, y = points[:, 0] * cos - points[:, 1] * sin, points[:, 0] * sin + points[:, 1] * cos
    plane_m = float(split(crs)[0].axis_info[0].unit_conversion_factor) if crs is not None else 1.0
    east, north, height = anchor.place if crs is not None else (0.0, 0.0, anchor.place[2])
    scale = anchor.unit_m / plane_m
    return np.column_stack([x * scale + east, y * scale + north, points[:, 2] * anchor.unit_m + height])
