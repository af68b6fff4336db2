"""Existing 3D Tiles sets: checked, placed, and kept as one archive, from which our own tree is made.

Read is what 3D Tiles 1.0 and 1.1 say of explicit trees (OGC 18-053r2, 22-025r4): b3dm, i3dm, pnts, cmpt, glTF, external
tilesets. A tile whose content isn't there, is cut short, or lies outside the set is set aside; the others go in.
"""

import json
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from cim.errors import BadSettings, UnknownAnchor, UnreadableFile
from cim.messages import say
from cim.reference.crs import WGS84, check_place, operation
from cim.reference.geocentric import from_plane, to_degrees, to_earth
from cim.store.assets import put_asset
from cim.store.connection import Cursor
from ingest.delivery.declared import Declared
from ingest.delivery.report import FileReport
from ingest.formats.contract import Incoming
from ingest.formats.coverages.sheet import Sheet, box_outline, enter, sheet_layer

Float = NDArray[np.float64]
Box = tuple[float, float, float, float, float, float]  # west, south, east, north in degrees; lowest, highest in metres
HEADED = (b"b3dm", b"i3dm", b"pnts", b"cmpt", b"glTF")  # magic, version, length of the whole
NEAR_EARTH_M = 6.2e6  # from its middle; what lies nearer has no place on it
DEEPEST = 60


def load(cursor: Cursor, incoming: Incoming) -> None:
    """Load a set of tiles as one asset; its path is that of the tileset.json.

    Raises:
        UnreadableFile: it isn't a tileset, or none of its contents can be read.
        BadSettings: it has no place on the earth, and no anchor gives it one.
        WrongCity: it lies more than 50 km from the city.

    """
    path, store, declared, report = incoming.path, incoming.store, incoming.declared, incoming.report
    layer = sheet_layer(path, declared, store, "tileset")
    tileset = _Set(path.parent, report)
    tileset.walk(path.name, np.eye(4))
    report.read = len(tileset.contents) + report.refused
    if not tileset.contents:
        raise UnreadableFile(say("none-contents-can-read", file=path))
    anchor, box = _placed(tileset, declared, path)
    report.lies_outside(check_place(box[:4], city=store.city, crs=WGS84, where=str(path), at=(box[0], box[1])))
    report.layers, report.crs, report.extent = [layer.id], "EPSG:4978", box[:4]
    report.vertical_datum = declared.vertical_datum if anchor else "ellipsoidal"
    report.operation = "tiles stay as they are"
    to_city = operation(WGS84, CRS.from_epsg(store.city.srid), store.city.extent)
    x, y = to_city(np.array([box[0], box[2], box[0], box[2]]), np.array([box[1], box[1], box[3], box[3]]))
    about = {
        "form": "3dtiles", "root": path.name, "contents": len(tileset.contents), "tilesets": len(tileset.documents),
        "anchor": anchor, "box": box, "heading": declared.heading or 0.0,
    }  # fmt: skip
    name = declared.dataset or path.parent.name
    with TemporaryDirectory() as scratch:
        sha256 = put_asset(store.settings, tileset.archive(Path(scratch) / "set.zip"))
    sheet = Sheet(layer.id, name, sha256, box_outline(x, y), about, len(tileset.contents))
    enter(cursor, sheet, incoming)


@dataclass
class _Set:
    """A set while it is walked through: its files, and the corners of what they cover."""

    folder: Path
    report: FileReport
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)  # name in the set → tileset without lost tiles
    contents: dict[str, Path] = field(default_factory=dict)
    corners: list[Float] = field(default_factory=list)  # (n, 3) earth-centred, or of no place
    _open: list[str] = field(default_factory=list)  # tileset files that are being walked through

    def walk(self, name: str, matrix: Float, depth: int = 0) -> None:
        """Take a tileset file and all it refers to.

        Raises:
            UnreadableFile: it isn't a tileset of a known version.

        """
        path = self.folder / name
        try:
            document = json.loads(path.read_bytes())
            version = str(document["asset"]["version"])
            root = document["root"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as fault:
            raise UnreadableFile(say("not-tileset", file=path, reason=repr(fault))) from fault
        if version not in ("0.0", "1.0", "1.1"):
            raise UnreadableFile(say("tileset-of-other-version", file=path, version=version))
        self.documents[name] = document
        self._open.append(name)
        try:
            self._tile(root, name, matrix, depth)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError) as fault:
            raise UnreadableFile(say("tile-cannot-read", file=path, reason=repr(fault))) from fault
        self._open.pop()

    def _tile(self, tile: dict[str, Any], within: str, matrix: Float, depth: int) -> None:
        if depth > DEEPEST:
            raise UnreadableFile(say("tiles-nest-deeper-than", folder=self.folder / within, deepest=DEEPEST))
        if "implicitTiling" in tile:
            raise UnreadableFile(say("implicit-tiling", folder=self.folder / within))
        if "transform" in tile:
            matrix = matrix @ np.array(tile["transform"], np.float64).reshape(4, 4).T
        self.corners.append(_corners(tile.get("boundingVolume") or {}, matrix))
        contents = [*([tile["content"]] if "content" in tile else []), *tile.get("contents", [])]
        readable = [content for content in contents if self._content(content, within, matrix, depth)]
        for key in ("content", "contents"):
            tile.pop(key, None)
        if len(readable) == 1:
            tile["content"] = readable[0]
        elif readable:
            tile["contents"] = readable
        for child in tile.get("children", []):
            self._tile(child, within, matrix, depth + 1)

    def _content(self, content: dict[str, Any], within: str, matrix: Float, depth: int) -> bool:
        """Take a content; return whether it is there and whole. Its address becomes its name in the set."""
        uri = str(content.pop("url", None) or content.get("uri") or "")
        name = _inside(uri, within)
        if name is None:
            self._refuse(uri, say("address-leads-out-set"))
            return False
        content["uri"] = name
        if name in self._open:
            self._refuse(uri, say("tileset-refers-itself"))
            return False
        if name in self.contents or name in self.documents:
            return True
        path = self.folder / name
        if not path.is_file():
            self._refuse(uri, say("content-tile-not"))
            return False
        if path.suffix.lower() == ".json":
            self.walk(name, matrix, depth + 1)
            return True
        if fault := _fault(path):
            self._refuse(uri, fault)
            return False
        self.contents[name] = path
        return True

    def _refuse(self, uri: str, why: str) -> None:
        self.report.refuse(uri or "a tile", why)

    def archive(self, target: Path) -> Path:
        """Write the set as an archive; the same set gives the same bytes."""
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(self.documents):
                text = json.dumps(self.documents[name], separators=(",", ":"), sort_keys=True)
                archive.writestr(_member(name), text)
            for name in sorted(self.contents):
                with (
                    archive.open(_member(name), "w", force_zip64=True) as member,
                    self.contents[name].open("rb") as file,
                ):
                    while piece := file.read(1 << 20):
                        member.write(piece)
        return target


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def _inside(uri: str, within: str) -> str | None:
    """Return the name in the set of what an address in one of its files leads to; None: it leads out of it."""
    split = urlsplit(uri)
    if split.scheme or split.netloc or not split.path or split.path.startswith(("/", "\\")):
        return None
    parts: list[str] = []
    for part in (PurePosixPath(within).parent / unquote(split.path).replace("\\", "/")).parts:
        if part == ".." and not parts:
            return None
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def _fault(path: Path) -> str:
    """Return what is wrong with a content, judged by its header and, of b3dm and pnts, by its tables."""
    if path.suffix.lower() == ".gltf":
        return say("gltf-with-files-beside")
    with path.open("rb") as file:
        head = file.read(_TABLES_FROM)
        if len(head) < 12 or head[:4] not in HEADED:
            return say("not-content-3d-tiles")
        length = struct.unpack_from("<8xI", head)[0]
        if length != path.stat().st_size:
            return say("cut-short-longer-than-says")
        return _fault_of_tables(head, length, file) if head[:4] in _TABLED else ""


_TABLED = (b"b3dm", b"pnts")
_TABLES_FROM = 28  # bytes of the header of both
_OF_2015 = 0x2200_0000  # JSON where a length is looked for: of b3dm before version 1, whose headers were shorter


def _fault_of_tables(head: bytes, length: int, file: BinaryIO) -> str:
    """Return what is wrong with the tables of a b3dm or pnts, or with what a pnts says of its points (py3dtiles)."""
    from py3dtiles.exceptions import Py3dtilesException
    from py3dtiles.tileset.content.b3dm import B3dmHeader
    from py3dtiles.tileset.content.pnts import PntsHeader
    from py3dtiles.tileset.content.pnts_feature_table import PntsFeatureTableHeader

    if len(head) < _TABLES_FROM:
        return say("cut-short-longer-than-says")
    kind = B3dmHeader if head[:4] == b"b3dm" else PntsHeader
    header = kind.from_array(np.frombuffer(head, np.uint8))
    feature, batch = (
        (header.ft_json_byte_length, header.ft_bin_byte_length),
        (header.bt_json_byte_length, header.bt_bin_byte_length),
    )
    if kind is B3dmHeader and max(*feature, *batch) >= _OF_2015:
        return ""
    if min(*feature, *batch) < 0 or _TABLES_FROM + sum(feature) + sum(batch) > length:
        return say("tables-longer-than-content")
    if kind is PntsHeader:
        try:
            PntsFeatureTableHeader.from_array(np.frombuffer(file.read(feature[0]), np.uint8))
        except (Py3dtilesException, ValueError, KeyError, TypeError) as fault:
            return say("tables-cannot-be-read", reason=str(fault))
    return ""


def _corners(volume: dict[str, Any], matrix: Float) -> Float:
    """Return the corners of a bounding volume, (8, 3) earth-centred; of a region too."""
    if region := volume.get("region"):
        west, south, east, north, low, high = region
        lon, lat, height = (v.ravel() for v in np.meshgrid([west, east], [south, north], [low, high]))
        return to_earth(np.degrees(lon), np.degrees(lat), height)
    if box := volume.get("box"):
        centre, axes = np.array(box[:3], float), np.array(box[3:12], float).reshape(3, 3)
    elif sphere := volume.get("sphere"):
        centre, axes = np.array(sphere[:3], float), np.eye(3) * float(sphere[3])
    else:
        return np.empty((0, 3))
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
    with np.errstate(invalid="ignore", over="ignore"):  # what isn't finite is said of the whole set
        return np.asarray((centre + signs @ axes) @ matrix[:3, :3].T + matrix[:3, 3])


def _placed(tileset: _Set, declared: Declared, path: Path) -> tuple[list[float] | None, Box]:
    """Return the anchor of a set that has no place of its own, and the box that it covers."""
    corners = np.concatenate([c for c in tileset.corners if len(c)] or [np.empty((0, 3))])
    if not len(corners) or not np.isfinite(corners).all():
        raise UnreadableFile(say("tiles-have-no-bounding-volume", file=path))
    distance = np.linalg.norm(corners, axis=1)
    if distance.min() > NEAR_EARTH_M:
        return None, _box(corners)
    if declared.anchor is None:
        raise UnknownAnchor(say("tiles-have-no-place-earth", file=path, distance=distance.max()))
    if declared.crs:
        raise BadSettings(say("anchor-set-longitude", file=path))
    lon, lat, height = declared.anchor
    anchor = [float(lon), float(lat), float(height)]
    return anchor, _box(from_plane(corners, anchor, declared.heading or 0.0))


def _box(corners: Float) -> Box:
    lon, lat, height = to_degrees(corners)
    west, south, low = (float(np.min(v)) for v in (lon, lat, height))
    east, north, high = (float(np.max(v)) for v in (lon, lat, height))
    return west, south, east, north, low, high
