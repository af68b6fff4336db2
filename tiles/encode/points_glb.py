"""GLB of points: colour, and intensity and class as attributes that a style can use.

glTF 2.0 (ISO/IEC 12113:2022), EXT_structural_metadata (property attributes). The same points give the same bytes.
"""

import numpy as np
from numpy.typing import NDArray

from cim.geometry.body_batch import Float
from tiles.encode.gltf import Buffer, container

_POINTS = 0
_PROPERTIES = {
    "intensity": {"type": "SCALAR", "componentType": "UINT16", "description": "Strength of the pulse's return"},
    "classification": {"type": "SCALAR", "componentType": "UINT8", "description": "Class, ASPRS LAS 1.4 table 17"},
}


def encode_points(
    places: Float,
    colour: NDArray[np.uint16],
    intensity: NDArray[np.uint16],
    classification: NDArray[np.uint8],
    class_name: str,
    title: str,
) -> bytes:
    """Return a GLB of points.

    Args:
        places: (n, 3) metres, earth-centred.
        colour: (n, 3) sRGB as LAS has it; files that fill only the low byte are brought to the full range.
        intensity: (n,).
        classification: (n,).
        class_name: of the metadata, the layer's id.
        title: of the layer.

    """
    buffer = Buffer()
    low, high = places.min(axis=0), places.max(axis=0)
    centre = np.round((low + high) / 2, 3)
    local = _y_up(places - centre).astype(np.float32)
    shade = np.full((len(places), 4), 65535, np.uint16)
    shade[:, :3] = _linear(colour)
    attributes = {
        "POSITION": buffer.accessor(local, "VEC3", bounds=True),
        "COLOR_0": buffer.accessor(shade, "VEC4", normalized=True),
        "_INTENSITY": buffer.padded(intensity.astype("<u2")),
        "_CLASSIFICATION": buffer.padded(classification.astype("u1")),
    }
    buffer.close()
    metadata = {
        "schema": {"id": "cim", "classes": {class_name: {"name": title, "properties": _PROPERTIES}}},
        "propertyAttributes": [
            {"class": class_name, "properties": {name: {"attribute": f"_{name.upper()}"} for name in _PROPERTIES}}
        ],
    }
    primitive = {
        "attributes": attributes,
        "mode": _POINTS,
        "extensions": {"EXT_structural_metadata": {"propertyAttributes": [0]}},
        "material": 0,
    }
    document = {
        "asset": {"version": "2.0", "generator": "cim"},
        "extensionsUsed": ["EXT_structural_metadata", "KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "translation": _y_up(centre[None, :])[0].tolist()}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [{"name": "points", "extensions": {"KHR_materials_unlit": {}}}],
        "extensions": {"EXT_structural_metadata": metadata},
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": buffer.length}],
    }
    return container(document, buffer)


def _y_up(points: Float) -> Float:
    return np.column_stack([points[:, 0], points[:, 2], -points[:, 1]])


def _linear(colour: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return 16-bit linear values of sRGB ones (IEC 61966-2-1)."""
    if len(colour) and colour.max() <= 255:
        colour = colour * np.uint16(257)
    return np.asarray(_LINEAR[colour])


_SRGB = np.arange(65536) / 65535.0
_LINEAR = np.rint(65535 * np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4)).astype(np.uint16)
