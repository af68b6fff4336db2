"""Textured meshes of photogrammetry as 3D tiles: a GLB a level of detail, a tileset file for each tile delivered."""

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cim.geometry.body_batch import Float
from tiles.encode.gltf import Buffer, container
from tiles.files import write_files, write_whole
from tiles.frame import Frame
from tiles.plan.quadtree import ecef
from tiles.plan.tree import Node, Region, Tile, document, named, region_union, to_file
from tiles.sheet_roots import added

_LINEAR_TO_EDGE = {"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}


def tile_mesh(archive: zipfile.ZipFile, frame: Frame, folder: Path) -> tuple[Tile, int]:
    """Write the tiles of an archive (`ingest.formats.scenes.osgb`); return its root, and how many contents are new."""
    tree: dict[str, Any] = json.loads(archive.read("tree.json"))
    written = 0
    made: dict[int, Node] = {}
    files: dict[str, bytes] = {}
    for number in reversed(_depth_first(tree)):
        described = tree["nodes"][number]
        meshes = [(part, *_mesh(archive.read(part["mesh"]))) for part in described["parts"]]
        blob, region = _content(meshes, archive, frame)
        name = f"{hashlib.sha256(blob).hexdigest()}.glb"
        written += write_whole(folder / "content" / name, blob)
        below = [made[child] for child in described["children"]]
        around = region_union([region, *(node.region for node in below)])
        # what is finer was made to be seen; a coarser level never claims to be as good as it
        error = max([described["error_m"], *(node.error_m for node in below)]) if below else 0.0
        entry: dict[str, Any] = {
            "boundingVolume": {"region": list(around)},
            "geometricError": error,
            "refine": "REPLACE",
            "content": {"uri": f"../content/{name}", "boundingVolume": {"region": list(region)}},
        }
        if below:
            entry["children"] = [node.entry for node in below]
        made[number] = Node(entry, around, error)
    tops = [to_file(made[number], files) for number in tree["roots"]]
    region = region_union([node.region for node in tops])
    error = max(_breadth(region) / 8, *(node.error_m for node in tops))
    root = document(Node(added(region, error) | {"children": [node.entry for node in tops]}, region, error))
    write_files(files | {named(root): root}, folder / "tileset")
    return Tile(named(root), region, error), written


def _depth_first(tree: dict[str, Any]) -> list[int]:
    """Return the nodes that roots lead to, each before those below it."""
    order: list[int] = []
    waiting = list(tree["roots"])
    while waiting:
        number = waiting.pop()
        order.append(number)
        waiting += tree["nodes"][number]["children"]
    return order


def _breadth(region: Region) -> float:
    west, south, east, north, *_ = region
    return float(np.hypot((east - west) * np.cos((south + north) / 2), north - south) * 6_371_000.0)


def _mesh(blob: bytes) -> tuple[Float, Any, Any]:
    """Return the vertices, texture coordinates (or None) and triangles of a stored mesh."""
    n, t, has_uv = np.frombuffer(blob, "<u4", 3).tolist()
    points = np.frombuffer(blob, "<f8", 3 * n, 12).reshape(n, 3)
    uv = np.frombuffer(blob, "<f4", 2 * n, 12 + 24 * n).reshape(n, 2) if has_uv else None
    triangles = np.frombuffer(blob, "<u4", 3 * t, 12 + 24 * n + (8 * n if has_uv else 0)).reshape(t, 3)
    return points, uv, triangles


def _content(
    meshes: Sequence[tuple[dict[str, Any], Float, Any, Any]], archive: zipfile.ZipFile, frame: Frame
) -> tuple[bytes, Region]:
    """Return a GLB of meshes about their middle, and the region that they cover."""
    lon, lat, height = frame.globe(np.concatenate([points for _, points, *_ in meshes]))
    west, south, east, north = (float(np.radians(v)) for v in (lon.min(), lat.min(), lon.max(), lat.max()))
    region: Region = (west, south, east, north, float(height.min()), float(height.max()))
    places = ecef(lon, lat, height)
    centre = np.round((places.min(axis=0) + places.max(axis=0)) / 2, 3)
    buffer = Buffer()
    primitives: list[dict[str, Any]] = []
    materials: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    start = 0
    for part, points, uv, triangles in meshes:
        local = _y_up(places[start : start + len(points)] - centre).astype(np.float32)
        start += len(points)
        attributes = {"POSITION": buffer.accessor(local, "VEC3", bounds=True)}
        material: dict[str, Any] = {"extensions": {"KHR_materials_unlit": {}}, "doubleSided": True}
        if uv is not None:
            attributes["TEXCOORD_0"] = buffer.accessor(uv, "VEC2")
            kind = "image/png" if part["image"].endswith(".png") else "image/jpeg"
            images.append({"bufferView": buffer.view(archive.read(part["image"])), "mimeType": kind})
            material["pbrMetallicRoughness"] = {"baseColorTexture": {"index": len(images) - 1}, "metallicFactor": 0}
        else:
            material["pbrMetallicRoughness"] = {"baseColorFactor": [*part["colour"], 1.0], "metallicFactor": 0}
        index = buffer.accessor(triangles.astype(np.uint32).ravel(), "SCALAR")
        primitives.append({"attributes": attributes, "indices": index, "material": len(materials), "mode": 4})
        materials.append(material)
    buffer.close()
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "cim"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "translation": _y_up(centre[None, :])[0].tolist()}],
        "meshes": [{"primitives": primitives}],
        "materials": materials,
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": buffer.length}],
    }
    if images:
        document |= {
            "images": images,
            "samplers": [_LINEAR_TO_EDGE],
            "textures": [{"source": k, "sampler": 0} for k in range(len(images))],
        }
    return container(document, buffer), region


def _y_up(points: Float) -> Float:
    """Return points of z upwards as glTF has them, y upwards; a viewer of tiles turns them back."""
    return np.asarray(points[:, [0, 2, 1]] * [1.0, 1.0, -1.0])
