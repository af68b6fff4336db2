"""Oblique photogrammetry as it is delivered in China: a folder of OSGB tiles with a metadata.xml.

The distribution's OpenSceneGraph converter (`osgconv`) turns each file into text, from which triangles, textures and
levels of detail are read. Kept is one archive in the city's coordinates: `tree.json`, and for each level its vertices
and textures; tiles are made from it.

A mesh in the archive, little-endian: vertices n and triangles t (uint32), 1 or 0 for texture coordinates (uint32);
n × 3 float64 metres in the city's CRS and vertical datum; n × 2 float32; t × 3 uint32.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from cim.errors import UnknownCrs, UnknownVerticalDatum, UnreadableFile
from cim.messages import say
from cim.reference.crs import WGS84, check_place, label, operation, parse, split
from cim.reference.geocentric import from_plane, to_degrees
from cim.reference.heights import datum_of, to_city_heights
from cim.store.assets import put_asset
from cim.store.connection import Cursor, Store
from ingest.delivery.declared import Declared, declared_crs, heights_city
from ingest.delivery.report import FileReport
from ingest.formats import confined
from ingest.formats.contract import Incoming
from ingest.formats.coverages.sheet import Sheet, box_outline, enter, sheet_layer
from ingest.formats.scenes.osgt import Paged, Part, read_scene
from ingest.formats.xml_stream import read_xml

Float = NDArray[np.float64]
LONGEST_S = 300.0  # of converting a file


def load(cursor: Cursor, incoming: Incoming) -> None:
    """Load a delivery as one asset; its path is that of the metadata.xml, with the tiles in `Data` beside it.

    Raises:
        UnreadableFile: there is no converter, or no tile can be read.
        UnknownCrs: neither metadata.xml nor an option tells its CRS.
        UnknownVerticalDatum: nothing tells the datum of its heights.
        WrongCity: it lies more than 50 km from the city.

    """
    path, store, declared, report = incoming.path, incoming.store, incoming.declared, incoming.report
    layer = sheet_layer(path, declared, store, "tileset")
    program = shutil.which("osgconv")
    if program is None:
        raise UnreadableFile(say("osgb-needs-openscenegraph-converter", file=path))
    placing = _placing(path, declared, store)
    roots = _roots(path)
    with TemporaryDirectory() as scratch, ThreadPoolExecutor(store.settings.worker_count) as pool:
        work = _Delivery(Path(scratch), program, placing, report)
        with zipfile.ZipFile(Path(scratch) / "mesh.zip", "w", zipfile.ZIP_STORED) as archive:
            tree = work.write(roots, archive, pool)
        if not tree["nodes"]:
            raise UnreadableFile(say("none-tiles-can-read", file=path, count=len(roots)))
        west, south, east, north = work.box_degrees(store)
        box = (west, south, east, north)
        report.lies_outside(
            check_place(box, city=store.city, crs=placing.horizontal, where=str(path), at=(west, south))
        )
        sha256 = put_asset(store.settings, Path(scratch) / "mesh.zip")
    report.layers, report.read = [layer.id], work.files + report.refused
    report.crs, report.vertical_datum = label(placing.horizontal), placing.datum
    report.extent, report.operation = (west, south, east, north), placing.name
    report.heights = placing.heights_name
    low, high = work.low, work.high
    about = {
        "form": "osgb", "contents": len(tree["nodes"]), "files": work.files, "triangles": work.triangles,
        "z": [round(float(low[2]), 3), round(float(high[2]), 3)], "crs": report.crs,
    }  # fmt: skip
    outline = box_outline(np.array([low[0], high[0]]), np.array([low[1], high[1]]))
    sheet = Sheet(layer.id, declared.dataset or path.parent.name, sha256, outline, about, work.files)
    enter(cursor, sheet, incoming)


def _roots(path: Path) -> list[Path]:
    """Return the coarsest file of each tile: called like its folder; without folders, all files."""
    data = path.parent / "Data" if (path.parent / "Data").is_dir() else path.parent
    folders = sorted(f for f in data.iterdir() if f.is_dir())
    named = [f / f"{f.name}.osgb" for f in folders if (f / f"{f.name}.osgb").is_file()]
    roots = named or sorted(data.glob("*.osgb"))
    if not roots:
        raise UnreadableFile(say("no-osgb-tiles", file=path, data=data.name))
    return roots


@dataclass(frozen=True)
class _Placing:
    """How a delivery's coordinates become the city's."""

    horizontal: CRS
    datum: str
    name: str
    origin: Float  # (3,) of the SRS
    enu: tuple[float, float] | None  # longitude, latitude: x, y, z are east, north, up of a tangent plane there
    to_city: Any
    heights_name: str
    heights: Any

    def __call__(self, points: Float) -> Float:
        """Return (n, 3) places in the city's CRS and vertical datum."""
        x, y, z = (points + self.origin).T
        if self.enu:
            x, y, z = to_degrees(from_plane(np.column_stack([x, y, z]), (*self.enu, 0.0)))
        x, y = self.to_city(x, y)
        return np.column_stack([x, y, self.heights(x, y, z)])


def _placing(path: Path, declared: Declared, store: Store) -> _Placing:
    try:
        root = read_xml(path)
        srs = (root.findtext("SRS") or "").strip()
        numbers = (root.findtext("SRSOrigin") or "0,0,0").replace(";", ",").split(",")
        origin = np.array([float(number) for number in [*numbers, "0", "0", "0"][:3]])
    except ValueError as fault:
        raise UnreadableFile(say("srsorigin-not-three-numbers", file=path, reason=fault)) from fault
    enu: tuple[float, float] | None = None
    crs: CRS | None
    if srs.upper().startswith("ENU:"):
        lat, lon = (float(number) for number in srs[4:].split(",")[:2])
        enu, crs = (lon, lat), WGS84
    else:
        crs = declared_crs(declared) or (parse(srs) if srs else None)
    if crs is None:
        raise UnknownCrs(say("nothing-tells-crs", file=path))
    datum = declared.vertical_datum or datum_of(crs)
    if datum is None:
        raise UnknownVerticalDatum(say("nothing-tells-vertical-datum-heights", file=path))
    horizontal, _ = split(crs)
    to_city = operation(horizontal, CRS.from_epsg(store.city.srid), store.city.extent)
    name, heights = to_city_heights(datum, heights_city(declared, store.city))
    return _Placing(horizontal, datum, to_city.name, origin, enu, to_city, name, heights)


@dataclass
class _Delivery:
    """A delivery on its way into an archive, one depth of its trees after the other."""

    scratch: Path
    program: str
    placing: _Placing
    report: FileReport
    files: int = 0
    triangles: int = 0
    low: Float = field(default_factory=lambda: np.full(3, np.inf))
    high: Float = field(default_factory=lambda: np.full(3, -np.inf))
    nodes: list[dict[str, Any]] = field(default_factory=list)

    def write(self, roots: Sequence[Path], archive: zipfile.ZipFile, pool: Executor) -> dict[str, Any]:
        """Write all files that the roots lead to; return the tree."""
        tops: list[int] = []
        seen: set[Path] = set()
        waiting: list[tuple[Path, int]] = [(path, -1) for path in roots]
        while waiting:
            wave = [(path, parent) for path, parent in waiting if path not in seen]
            seen |= {path for path, _ in wave}
            waiting = []
            for (path, parent), scene in zip(wave, pool.map(self._read, [path for path, _ in wave]), strict=True):
                if isinstance(scene, str):
                    self.report.refuse(path.name, scene)
                    continue
                self.files += 1
                self.report.report_progress(0.0, self.files)
                for paged in scene:
                    node = self._node(paged, archive)
                    if node is not None:
                        (tops if parent < 0 else self.nodes[parent]["children"]).append(node)
                    place = parent if node is None else node
                    waiting += [(path.parent / name, place) for name in map(_plain, paged.finer)]
        tree = {"roots": tops, "nodes": self.nodes}
        archive.writestr(zipfile.ZipInfo("tree.json", (1980, 1, 1, 0, 0, 0)), json.dumps(tree, separators=(",", ":")))
        return tree

    def _read(self, path: Path) -> list[Paged] | str:
        """Convert and read a file; return what is wrong with it where it can't be."""
        if not path.is_file():
            return "a finer tile isn't there"
        text, tile = self.scratch / f"{abs(hash(path))}.osgt", path.resolve()
        # it loads what a tile refers to: only what lies in the tile's folder may be read, and no address asked
        folders = [str(self.scratch), str(tile.parent), str(Path(self.program).resolve().parent)]
        command = [sys.executable, "-I", "-S", confined.__file__, *folders, "--", self.program]
        try:
            done = subprocess.run(
                [*command, str(tile), str(text)], capture_output=True, timeout=LONGEST_S, check=False,
                cwd=self.scratch, env={"PATH": os.defpath},
            )  # fmt: skip
            if done.returncode == confined.CANNOT_CONFINE:
                why = done.stderr.decode("utf-8", "replace").strip()
                raise UnreadableFile(say("osgb-read-program-must-kept", file=path, why=why))
            if done.returncode or not text.is_file():
                return "the converter can't read it"
            return read_scene(text.read_text("utf-8", "replace"))
        except (subprocess.TimeoutExpired, ValueError, IndexError) as fault:
            return say("cannot-read", reason=fault)
        finally:
            text.unlink(missing_ok=True)

    def _node(self, paged: Paged, archive: zipfile.ZipFile) -> int | None:
        if paged.lost:
            self.report.warn(say("parts-not-triangles"))
        parts: list[dict[str, Any]] = []
        for part in paged.parts:
            placed = self.placing(part.points)
            if not np.isfinite(placed).all() or part.triangles.max(initial=0) >= len(placed):
                self.report.warn(say("parts-coordinates-cannot-placed-left"))
                continue
            self.low, self.high = np.minimum(self.low, placed.min(axis=0)), np.maximum(self.high, placed.max(axis=0))
            self.triangles += len(part.triangles)
            parts.append(self._part(f"{len(self.nodes)}-{len(parts)}", part, placed, archive))
        if not parts:
            return None
        self.nodes.append({"parts": parts, "error_m": round(paged.error_m, 4), "children": []})
        return len(self.nodes) - 1

    def _part(self, name: str, part: Part, placed: Float, archive: zipfile.ZipFile) -> dict[str, Any]:
        has_uv = part.uv is not None and part.image is not None and len(part.uv) == len(placed)
        header = np.array([len(placed), len(part.triangles), has_uv], "<u4").tobytes()
        uv = part.uv.astype("<f4").tobytes() if has_uv and part.uv is not None else b""
        blob = header + placed.astype("<f8").tobytes() + uv + part.triangles.astype("<u4").tobytes()
        archive.writestr(zipfile.ZipInfo(f"{name}.mesh", (1980, 1, 1, 0, 0, 0)), blob)
        entry: dict[str, Any] = {"mesh": f"{name}.mesh", "colour": [round(c, 4) for c in part.colour]}
        if has_uv and part.image is not None:
            entry["image"] = f"{name}.{'png' if part.image[:4] == b'\x89PNG' else 'jpg'}"
            archive.writestr(zipfile.ZipInfo(entry["image"], (1980, 1, 1, 0, 0, 0)), part.image)
        return entry

    def box_degrees(self, store: Store) -> tuple[float, float, float, float]:
        """Return the box in degrees around all that was placed."""
        to_degrees = operation(CRS.from_epsg(store.city.srid), WGS84, store.city.extent)
        x, y = np.meshgrid([self.low[0], self.high[0]], [self.low[1], self.high[1]])
        lon, lat = to_degrees(x.ravel(), y.ravel())
        return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def _plain(name: str) -> str:
    """Return a file's name alone: what a tile refers to lies beside it, and nowhere else."""
    return PurePosixPath(name.replace("\\", "/")).name
