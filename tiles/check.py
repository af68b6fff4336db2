"""Our own check of a tileset: what validators of single files can't see.

Children lie inside their parents, content inside its volume, errors fall from the root to the leaves, refinement is
consistent, every feature stands in exactly one leaf, and every metadata value equals the database's.
"""

import json
import math
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import Transformer

from cim.geometry.body_batch import Float
from tiles.encode.gltf import NO_INTEGER, NO_NUMBER, NO_TEXT

_ANGLE_RAD = 1e-9  # 6 mm on the ground
_HEIGHT_M = 2e-3
_Y_UP_TO_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
_COMPONENTS = {"SCALAR": 1, "VEC3": 3}


@dataclass(frozen=True)
class Glb:
    """A GLB taken apart."""

    document: dict[str, Any]
    binary: bytes

    @classmethod
    def read(cls, data: bytes) -> "Glb":
        """Take apart a GLB of one JSON and one binary chunk."""
        length = struct.unpack_from("<I", data, 12)[0]
        document = json.loads(data[20 : 20 + length])
        return cls(document, data[28 + length :])

    def view(self, index: int) -> bytes:
        """Return the bytes of a buffer view."""
        view = self.document["bufferViews"][index]
        start = view.get("byteOffset", 0)
        return self.binary[start : start + view["byteLength"]]

    def accessor(self, index: int) -> Float:
        """Return the values of an accessor, (n, components)."""
        accessor = self.document["accessors"][index]
        kind = {5126: "<f4", 5125: "<u4", 5123: "<u2", 5121: "u1"}[accessor["componentType"]]
        values = np.frombuffer(self.view(accessor["bufferView"]), kind)
        return values.reshape(accessor["count"], _COMPONENTS[accessor["type"]]).astype(np.float64)

    @property
    def primitives(self) -> list[dict[str, Any]]:
        """All primitives of all meshes."""
        return [p for mesh in self.document["meshes"] for p in mesh["primitives"]]

    def material(self, primitive: Mapping[str, Any]) -> str:
        """Return the name of a primitive's material."""
        return str(self.document["materials"][primitive["material"]]["name"])

    def table(self) -> dict[str, list[Any]]:
        """Return the property table, a list a property; no-data values are None."""
        metadata = self.document["extensions"]["EXT_structural_metadata"]
        table = metadata["propertyTables"][0]
        properties = metadata["schema"]["classes"][table["class"]]["properties"]
        return {name: self._property(properties[name], values) for name, values in table["properties"].items()}

    def _property(self, declared: Mapping[str, Any], values: Mapping[str, Any]) -> list[Any]:
        raw = self.view(values["values"])
        if declared["type"] == "STRING":
            offsets = np.frombuffer(self.view(values["stringOffsets"]), "<u4")
            texts = [raw[a:b].decode() for a, b in pairwise(offsets)]
            return [None if t == NO_TEXT and not declared.get("required") else t for t in texts]
        if declared["componentType"] == "INT32":
            return [None if v == NO_INTEGER else v for v in np.frombuffer(raw, "<i4").tolist()]
        return [None if v == NO_NUMBER else v for v in np.frombuffer(raw, "<f8").tolist()]


@dataclass(frozen=True)
class TileContent:
    """A content where it stands in the tree."""

    name: str
    glb: Glb
    transform: Float  # (4, 4) to earth-centred axes, the y-up of glTF turned
    is_leaf: bool

    def ecef(self, primitive: Mapping[str, Any]) -> Float:
        """Return the vertices of a primitive, (n, 3) metres earth-centred."""
        local = self.glb.accessor(primitive["attributes"]["POSITION"])
        return local @ self.transform[:3, :3].T + self.transform[:3, 3]


@dataclass
class Findings:
    """What is wrong, and what was seen."""

    problems: list[str] = field(default_factory=list)
    contents: list[TileContent] = field(default_factory=list)
    leaf_count: Counter[str] = field(default_factory=Counter)  # feature id → leaves that hold it

    def say(self, where: str, problem: str) -> None:
        """Note a problem."""
        self.problems.append(f"{where}: {problem}")


def check_tileset(folder: Path, root: str, rows: Mapping[str, Mapping[str, Any]] | None = None) -> Findings:
    """Walk a tileset of the store and note what breaks a rule.

    Args:
        folder: the layer's folder, with `content/` and `tileset/`.
        root: name of the root's file.
        rows: what the database holds, public field values by feature id; None: not compared.

    """
    findings = Findings()
    document = json.loads((folder / "tileset" / root).read_bytes())
    if document["asset"]["version"] != "1.1":
        findings.say(root, "not 3D Tiles 1.1")
    _walk(findings, folder, document["root"], root, np.eye(4))
    for identifier, count in findings.leaf_count.items():
        if count != 1:
            findings.say(identifier, f"stands in {count} leaves")
    if rows is not None:
        _compare(findings, rows)
    return findings


def _walk(findings: Findings, folder: Path, tile: Mapping[str, Any], where: str, transform: Float) -> None:
    if "transform" in tile:
        transform = transform @ np.array(tile["transform"]).reshape(4, 4).T
    region = tile["boundingVolume"]["region"]
    children = list(tile.get("children", ()))
    if content := tile.get("content"):
        name = content["uri"].rsplit("/", 1)[-1]
        if name.endswith(".json"):
            children = [_external(findings, folder, name, tile)]
        else:
            _check_content(findings, folder, name, tile, transform)
    for number, child in enumerate(children):
        below = f"{where}/{number}"
        if not _inside(child["boundingVolume"]["region"], region):
            findings.say(below, "reaches out of its parent's volume")
        if child["geometricError"] > tile["geometricError"]:
            findings.say(below, f"error {child['geometricError']} above its parent's {tile['geometricError']}")
        if child.get("refine", tile.get("refine")) != tile.get("refine"):
            findings.say(below, "another refinement than its parent's")
        _walk(findings, folder, child, below, transform)


def _external(findings: Findings, folder: Path, name: str, tile: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "tileset" / name).read_bytes())
    if document["geometricError"] != tile["geometricError"]:
        findings.say(name, "the error of the file isn't the one its parent states")
    return dict(document["root"])


def _check_content(findings: Findings, folder: Path, name: str, tile: Mapping[str, Any], transform: Float) -> None:
    path = folder / "content" / name
    if not path.exists():
        findings.say(name, "the file isn't in the store")
        return
    content = TileContent(name, Glb.read(path.read_bytes()), transform @ _Y_UP_TO_Z_UP, not tile.get("children"))
    findings.contents.append(content)
    vertices = np.concatenate([content.ecef(p) for p in content.glb.primitives])
    geodetic = Transformer.from_crs(4978, 4979, always_xy=True)
    lon, lat, height = geodetic.transform(*vertices.T)
    tight = [*np.radians([lon.min(), lat.min(), lon.max(), lat.max()]), height.min(), height.max()]
    stated = tile["content"]["boundingVolume"]["region"]
    if not _inside(tight, stated) or not _inside(stated, tile["boundingVolume"]["region"]):
        findings.say(name, f"content outside its volume: {tight} in {stated}")
    if math.dist(tight[:2], stated[:2]) > 1e-4 or math.dist(tight[2:4], stated[2:4]) > 1e-4:
        findings.say(name, "the volume isn't tight")
    if content.is_leaf:
        findings.leaf_count.update(content.glb.table()["id"])


def _inside(inner: Any, outer: Any) -> bool:
    west, south, low = (inner[i] >= outer[i] - t for i, t in ((0, _ANGLE_RAD), (1, _ANGLE_RAD), (4, _HEIGHT_M)))
    east, north, high = (inner[i] <= outer[i] + t for i, t in ((2, _ANGLE_RAD), (3, _ANGLE_RAD), (5, _HEIGHT_M)))
    return bool(west and south and low and east and north and high)


def _compare(findings: Findings, rows: Mapping[str, Mapping[str, Any]]) -> None:
    if lost := rows.keys() - findings.leaf_count.keys():
        findings.say("tileset", f"{len(lost)} features in no leaf, such as {min(lost)}")
    for content, identifier, name, value in _values(findings.contents):
        if identifier not in rows:
            findings.say(content.name, f"{identifier} isn't in the database")
        elif rows[identifier][name] != value:
            findings.say(content.name, f"{identifier}.{name} is {value!r}, not {rows[identifier][name]!r}")


def _values(contents: list[TileContent]) -> Iterator[tuple[TileContent, str, str, Any]]:
    for content in contents:
        table = content.glb.table()
        for name, values in table.items():
            if name != "id":
                for identifier, value in zip(table["id"], values, strict=True):
                    yield content, identifier, name, value
