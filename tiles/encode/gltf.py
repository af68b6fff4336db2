"""GLB: a mesh of triangles with a feature id a vertex and a property table of the features.

glTF 2.0 (ISO/IEC 12113:2022), EXT_mesh_features and EXT_structural_metadata. The same input gives the same bytes.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cim.catalog.model import Layer, LayerField
from cim.geometry.appearance import Wrap
from tiles.encode.textures import Texture

_FLOAT, _UNSIGNED_INT = 5126, 5125
_COMPONENTS = {np.uint32: _UNSIGNED_INT, np.uint16: 5123, np.uint8: 5121}
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963

PAINTED_ROUGHNESS = 1.0  # how a client's own shader knows what has its look from the source

# what stands for "no value"; JSON has neither NaN nor infinity
NO_INTEGER = -(2**31)
NO_NUMBER = -1.7976931348623157e308
NO_TEXT = ""


@dataclass(frozen=True)
class Primitive:
    """Triangles of one material."""

    material: str
    color: tuple[float, float, float]  # linear RGB
    positions: NDArray[np.float32]  # (n, 3) metres: east, up, south about the tile's centre
    normals: NDArray[np.float32]  # (n, 3) unit
    features: NDArray[np.float32]  # (n,) row of the property table
    heights: NDArray[np.float32]  # (n,) metres above the feature's foot
    triangles: NDArray[np.uint32]  # (t, 3)
    uv: NDArray[np.float32] | None = None  # (n, 2) places in the texture
    texture: Texture | None = None
    colors: NDArray[np.float32] | None = None  # (n, 4) linear RGB and opacity, each times the material's


def encode_glb(primitives: Sequence[Primitive], layer: Layer, columns: dict[str, Sequence[Any]]) -> bytes:
    """Return a GLB of primitives and the property table `columns` (`id` and the layer's public fields)."""
    buffer = Buffer()
    meshes = [_primitive(buffer, p) for p in primitives if len(p.triangles)]
    used = [p for p in primitives if len(p.triangles)]
    count = len(columns["id"])
    for primitive in meshes:
        primitive["extensions"] = {
            "EXT_mesh_features": {"featureIds": [{"featureCount": count, "attribute": 0, "propertyTable": 0}]}
        }
    for index, primitive in enumerate(meshes):
        primitive["material"] = index
    metadata = _metadata(buffer, layer, columns, count)
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "cim"},
        "extensionsUsed": ["EXT_mesh_features", "EXT_structural_metadata"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": meshes}],
        "materials": [_material(p) for p in used],
        "extensions": {"EXT_structural_metadata": metadata},
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
    }
    textures = [p.texture for p in used if p.texture]
    if textures:
        document |= {
            "images": [{"bufferView": buffer.view(t.image), "mimeType": t.mime} for t in textures],
            "samplers": [_sampler(t.wrap) for t in textures],
            "textures": [{"source": n, "sampler": n} for n in range(len(textures))],
        }
        textured = [m for m, p in zip(document["materials"], used, strict=True) if p.texture]
        for number, material in enumerate(textured):
            material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": number}
    buffer.close()
    document["buffers"] = [{"byteLength": buffer.length}]
    return container(document, buffer)


def encode_mesh(primitive: Primitive, ids: Sequence[str], origin: Mapping[str, Any]) -> bytes:
    """Return a GLB of one mesh whose features have an id each; where its origin stands is said in `asset.extras`."""
    buffer = Buffer()
    mesh = _primitive(buffer, primitive) | {"material": 0}
    mesh["extensions"] = {
        "EXT_mesh_features": {"featureIds": [{"featureCount": len(ids), "attribute": 0, "propertyTable": 0}]}
    }
    properties = {"id": {"type": "STRING", "required": True}}
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "cim", "extras": {"origin": dict(origin)}},
        "extensionsUsed": ["EXT_mesh_features", "EXT_structural_metadata"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [mesh]}],
        "materials": [_material(primitive)],
        "extensions": {
            "EXT_structural_metadata": {
                "schema": {"id": "cim", "classes": {"result": {"properties": properties}}},
                "propertyTables": [{"class": "result", "count": len(ids), "properties": {"id": _strings(buffer, ids)}}],
            }
        },
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
    }
    buffer.close()
    document["buffers"] = [{"byteLength": buffer.length}]
    return container(document, buffer)


def _sampler(wrap: Wrap) -> dict[str, int]:
    mode = {"clamp": 33071, "repeat": 10497, "mirror": 33648}[wrap]
    return {"magFilter": 9729, "minFilter": 9987, "wrapS": mode, "wrapT": mode}


@dataclass(frozen=True)
class Instances:
    """A mesh that is drawn many times, each time turned, scaled and moved."""

    name: str
    mesh: Sequence[Primitive]  # about the foot, y up
    translations: NDArray[np.float32]  # (n, 3) metres: east, up, south about the tile's centre
    rotations: NDArray[np.float32]  # (n, 4) quaternions x, y, z, w
    scales: NDArray[np.float32]  # (n, 3)
    features: NDArray[np.float32]  # (n,) row of the property table


def encode_instances(groups: Sequence[Instances], layer: Layer, columns: dict[str, Sequence[Any]]) -> bytes:
    """Return a GLB of meshes drawn many times (EXT_mesh_gpu_instancing) and the property table of the instances."""
    buffer = Buffer()
    count = len(columns["id"])
    nodes: list[dict[str, Any]] = []
    meshes: list[dict[str, Any]] = []
    materials: list[dict[str, Any]] = []
    for group in groups:
        primitives = []
        for part in group.mesh:
            primitive = {
                "attributes": {
                    "POSITION": buffer.accessor(part.positions, "VEC3", bounds=True),
                    "NORMAL": buffer.accessor(part.normals, "VEC3"),
                    "_HEIGHT": buffer.accessor(part.heights, "SCALAR"),
                },
                "indices": buffer.accessor(part.triangles, "SCALAR"),
                "material": len(materials),
                "mode": 4,
            }
            primitives.append(primitive)
            materials.append(_material(part))
        attributes = {
            "TRANSLATION": buffer.accessor(group.translations, "VEC3", bounds=True, vertex=False),
            "ROTATION": buffer.accessor(group.rotations, "VEC4", vertex=False),
            "SCALE": buffer.accessor(group.scales, "VEC3", vertex=False),
            "_FEATURE_ID_0": buffer.accessor(group.features, "SCALAR", vertex=False),
        }
        nodes.append(
            {
                "name": group.name,
                "mesh": len(meshes),
                "extensions": {
                    "EXT_mesh_gpu_instancing": {"attributes": attributes},
                    "EXT_instance_features": {
                        "featureIds": [{"featureCount": count, "attribute": 0, "propertyTable": 0}]
                    },
                },
            }
        )
        meshes.append({"name": group.name, "primitives": primitives})
    metadata = _metadata(buffer, layer, columns, count)
    buffer.close()
    document = {
        "asset": {"version": "2.0", "generator": "cim"},
        "extensionsUsed": ["EXT_mesh_gpu_instancing", "EXT_instance_features", "EXT_structural_metadata"],
        "extensionsRequired": ["EXT_mesh_gpu_instancing"],
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes)))}],
        "nodes": nodes,
        "meshes": meshes,
        "materials": materials,
        "extensions": {"EXT_structural_metadata": metadata},
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": buffer.length}],
    }
    return container(document, buffer)


@dataclass
class Buffer:
    """The binary chunk as it grows."""

    parts: list[bytes] = field(default_factory=list)
    length: int = 0
    views: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)

    def view(self, data: bytes, target: int | None = None, *, vertex: bool = False, stride: int | None = None) -> int:
        """Add bytes; return the number of their view."""
        target = _ARRAY_BUFFER if vertex else target
        padding = -self.length % 8
        self.parts.append(b"\0" * padding + data)
        start = self.length + padding
        self.length = start + len(data)
        self.views.append(
            {"buffer": 0, "byteOffset": start, "byteLength": len(data)}
            | ({"byteStride": stride} if stride else {})
            | ({"target": target} if target else {})
        )
        return len(self.views) - 1

    def close(self) -> None:
        """Pad to the eight bytes that a chunk of a GLB in a tile ends on."""
        padding = -self.length % 8
        self.parts.append(b"\0" * padding)
        self.length += padding

    def padded(self, array: NDArray[Any]) -> int:
        """Add small single values, each in the four bytes that a vertex attribute begins on."""
        wide = np.zeros((len(array), 4 // array.itemsize), array.dtype)
        wide[:, 0] = array
        view = self.view(wide.tobytes(), vertex=True, stride=4)
        component = _COMPONENTS[array.dtype.type]
        self.accessors.append({"bufferView": view, "componentType": component, "count": len(array), "type": "SCALAR"})
        return len(self.accessors) - 1

    def accessor(
        self, array: NDArray[Any], kind: str, *, bounds: bool = False, vertex: bool = True, normalized: bool = False
    ) -> int:
        """Add an array; return the number of its accessor."""
        component = _COMPONENTS.get(array.dtype.type, _FLOAT)
        target = _ELEMENT_ARRAY_BUFFER if component == _UNSIGNED_INT else _ARRAY_BUFFER if vertex else None
        count = array.size if kind == "SCALAR" else len(array)
        accessor: dict[str, Any] = {
            "bufferView": self.view(np.ascontiguousarray(array).tobytes(), target),
            "componentType": component,
            "count": count,
            "type": kind,
        }
        if normalized:
            accessor["normalized"] = True
        if bounds:
            accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _primitive(buffer: Buffer, primitive: Primitive) -> dict[str, Any]:
    attributes = {
        "POSITION": buffer.accessor(primitive.positions, "VEC3", bounds=True),
        "NORMAL": buffer.accessor(primitive.normals, "VEC3"),
        "_FEATURE_ID_0": buffer.accessor(primitive.features, "SCALAR"),
        "_HEIGHT": buffer.accessor(primitive.heights, "SCALAR"),
    }
    if primitive.uv is not None:
        attributes["TEXCOORD_0"] = buffer.accessor(primitive.uv, "VEC2")
    if primitive.colors is not None:
        attributes["COLOR_0"] = buffer.accessor(primitive.colors, "VEC4")
    return {
        "attributes": attributes,
        "indices": buffer.accessor(primitive.triangles, "SCALAR"),
        "mode": 4,
    }


def _material(primitive: Primitive) -> dict[str, Any]:
    texture, colors = primitive.texture, primitive.colors
    painted = texture is not None or colors is not None
    alpha = texture.alpha if texture else "OPAQUE"
    if colors is not None and (colors[:, 3] < 1).any():
        alpha = "BLEND"
    return {
        "name": primitive.material,
        "doubleSided": True,  # open surfaces are many, and their backs must not vanish
        "pbrMetallicRoughness": {
            "baseColorFactor": [*primitive.color, 1.0],
            "metallicFactor": 0.0,
            "roughnessFactor": PAINTED_ROUGHNESS if painted else 0.95,
        },
    } | ({"alphaMode": alpha} if alpha != "OPAQUE" else {})


def _metadata(buffer: Buffer, layer: Layer, columns: dict[str, Sequence[Any]], count: int) -> dict[str, Any]:
    class_name = layer.id
    properties: dict[str, Any] = {"id": {"type": "STRING", "required": True}}
    values: dict[str, Any] = {"id": _strings(buffer, columns["id"])}
    for declared in layer.public_fields:
        properties[declared.name] = _class_property(declared)
        values[declared.name] = _values(buffer, declared, columns[declared.name])
    return {
        "schema": {"id": "cim", "classes": {class_name: {"name": layer.title.en, "properties": properties}}},
        "propertyTables": [{"class": class_name, "count": count, "properties": values}],
    }


def _class_property(declared: LayerField) -> dict[str, Any]:
    described = {"name": declared.title.zh, "description": declared.title.en}
    if declared.type in ("integer", "boolean"):
        return described | {"type": "SCALAR", "componentType": "INT32", "noData": NO_INTEGER}
    if declared.type == "number":
        return described | {"type": "SCALAR", "componentType": "FLOAT64", "noData": NO_NUMBER}
    return described | {"type": "STRING", "noData": NO_TEXT}


def _values(buffer: Buffer, declared: LayerField, values: Sequence[Any]) -> dict[str, Any]:
    if declared.type in ("integer", "boolean"):
        numbers = np.array([NO_INTEGER if v is None else int(v) for v in values], "<i4")
        return {"values": buffer.view(numbers.tobytes())}
    if declared.type == "number":
        return {"values": buffer.view(np.array([NO_NUMBER if v is None else v for v in values], "<f8").tobytes())}
    return _strings(buffer, [NO_TEXT if v is None else str(v) for v in values])


def _strings(buffer: Buffer, texts: Sequence[str]) -> dict[str, Any]:
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, "<u4")
    np.cumsum([len(e) for e in encoded], out=offsets[1:])
    # a buffer view has at least one byte, even where all texts are empty
    return {"values": buffer.view(b"".join(encoded) or b"\0"), "stringOffsets": buffer.view(offsets.tobytes())}


def container(document: dict[str, Any], buffer: Buffer) -> bytes:
    """Return the file of a document and its binary chunk."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    binary = b"".join(buffer.parts)
    document_chunk = struct.pack("<I4s", len(text), b"JSON") + text
    binary_chunk = struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return (
        struct.pack("<4sII", b"glTF", 2, 12 + len(document_chunk) + len(binary_chunk)) + document_chunk + binary_chunk
    )
