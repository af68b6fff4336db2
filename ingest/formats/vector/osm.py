"""OpenStreetMap, PBF or XML: each object that a layer takes by its tags, and turn restrictions with their places.

A class is a tag, `key=value`, or `key=*` for all values; the catalog says which layer takes it. Closed ways and
multipolygon relations become areas as osmium assembles them. Tags: https://wiki.openstreetmap.org/wiki/Map_features
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import osmium
import shapely
from osmium.filter import EmptyTagFilter, KeyFilter
from pyproj import CRS

from cim.catalog.model import Catalog, Layer
from cim.errors import UnreadableFile
from cim.features import BATCH_SIZE, Features, Header, ReadOptions, Refusal, Source
from cim.messages import say

RESTRICTION = "type=restriction"
_BIG_FILE = 200 << 20  # bytes, from which the places of nodes are kept on disk
_SHAPES = {"MultiPolygon": "area", "MultiLineString": "line", "Point": "point"}
_KINDS = {"n": "node", "w": "way", "r": "relation"}
_AREA_RELATIONS = ("multipolygon", "boundary")
_LEFT_OUT_SHOWN = 8


def read(path: Path, options: ReadOptions) -> Iterator[Source]:
    """Read what the catalog's layers take.

    Raises:
        UnreadableFile: not an OSM file, or cut short.

    """
    yield Source(Header(crs=CRS.from_epsg(4326), layer_hint=path.stem), _Reading(path, options.catalog).batches())


@dataclass
class _Turn:
    """A turn restriction: the tags and members of its relation."""

    id: str
    tags: dict[str, str]
    by_role: dict[str, list[str]] = field(default_factory=dict)  # role → `way/1`, `node/2`
    point: Any = None


@dataclass
class _Gathered:
    """What a batch grows by."""

    ids: list[str | None] = field(default_factory=list)
    attributes: list[dict[str, Any]] = field(default_factory=list)
    wkb: list[str] = field(default_factory=list)
    object_class: list[str | None] = field(default_factory=list)
    on_surface: list[int] = field(default_factory=list)  # areas that stand as a point

    def add(self, identifier: str, tags: Any, wkb: str, object_class: str) -> None:
        """Add a record; `wkb` is hexadecimal."""
        self.ids.append(identifier)
        self.attributes.append(dict(tags))
        self.wkb.append(wkb)
        self.object_class.append(object_class)

    def batch(self, refused: tuple[Refusal, ...], warnings: Mapping[str, tuple[str, ...]] | None = None) -> Features:
        """Return the records, areas of point layers as points on them."""
        shapes = np.asarray(shapely.from_wkb(np.array([bytes.fromhex(text) for text in self.wkb], object)))
        shapes = shapes.reshape(len(self.ids))
        for record in self.on_surface:
            shapes[record] = shapely.point_on_surface(shapes[record])
        return Features(
            ids=self.ids,
            attributes=self.attributes,
            geometry=shapes,
            object_class=self.object_class,
            parent_id=[None] * len(self.ids),
            refused=refused,
            warnings=warnings or {},
        )


class _Reading:
    """One pass over a file, and what it has to remember."""

    def __init__(self, path: Path, catalog: Catalog) -> None:
        self._path = path
        self._layers: Mapping[str, Layer] = {
            name: layer for name, layer in catalog.layer_by_object_class.items() if "=" in name
        }
        self._wkb = osmium.geom.WKBFactory()
        self._open: dict[str, str] = {}  # ways and relations that have to become areas → their class
        self._refused: list[Refusal] = []
        self._left_out: Counter[str] = Counter()
        self._cut: list[str] = []
        self._pending = _Gathered()

    def batches(self) -> Iterator[Features]:
        """Yield records of all layers, in the order of the file; what can't become an area is refused at the end."""
        try:
            turns = self._turns()
            via = {ref: turn for turn in turns for ref in turn.by_role.get("via", ())}
            with TemporaryDirectory() as folder:
                objects: Any = self._objects(folder)
                for item in objects:
                    identifier = _name_of(item)
                    if item.is_way() and identifier in via:
                        with suppress(ValueError, RuntimeError):  # cut off: the turn is refused by its name
                            via[identifier].point = self._line(item).centroid
                    self._take(identifier, item)
                    if len(self._pending.ids) >= BATCH_SIZE:
                        yield self._pending.batch(self._flush_refused())
                        self._pending = _Gathered()
                self._take_turns(turns, objects.node_location_storage)
        except (RuntimeError, OSError, ValueError, osmium.InvalidLocationError) as fault:
            raise UnreadableFile(say("not-readable-openstreetmap", file=self._path, reason=fault)) from fault
        for key, kind in self._open.items():
            self._refused.append(Refusal(key.split(" ")[0], say("ways-not-close-area", kind=kind)))
        yield self._pending.batch(self._flush_refused(), self._warnings())

    def _flush_refused(self) -> tuple[Refusal, ...]:
        refused, self._refused = tuple(self._refused), []
        return refused

    def _turns(self) -> list[_Turn]:
        if RESTRICTION not in self._layers:
            return []
        turns = []
        relations: Any = osmium.FileProcessor(str(self._path), osmium.osm.RELATION)
        for item in relations.with_filter(KeyFilter("restriction")):
            turn = _Turn(f"relation/{item.id}", dict(item.tags))
            for member in item.members:
                turn.by_role.setdefault(member.role, []).append(f"{_KINDS[member.type]}/{member.ref}")
            turns.append(turn)
        return turns

    def _objects(self, folder: str) -> osmium.FileProcessor:
        """Return the objects with tags, areas among them."""
        big = self._path.stat().st_size > _BIG_FILE
        storage = f"sparse_file_array,{folder}/nodes" if big else "flex_mem"
        return osmium.FileProcessor(str(self._path)).with_locations(storage).with_areas().with_filter(EmptyTagFilter())

    def _take(self, identifier: str, item: Any) -> None:
        tags = item.tags
        classes = self._classes(tags)
        if not classes and not item.is_area():
            self._left_out[f"{_main_key(tags)}=…"] += 1
        for name, layer in classes:
            try:
                self._take_as(identifier, item, name, _SHAPES[layer.geometry or "Point"])
            except (osmium.InvalidLocationError, RuntimeError, ValueError) as fault:
                self._refused.append(Refusal(identifier, say("node-not-in-file", name=name, reason=fault)))

    def _take_as(self, identifier: str, item: Any, name: str, shape: str) -> None:
        if item.is_node() and shape == "point":
            self._pending.add(identifier, item.tags, self._wkb.create_point(item), name)
        elif item.is_node():
            self._left_out[f"{name} as a point"] += 1
        elif shape == "line":
            if item.is_way():
                self._pending.add(identifier, item.tags, shapely.to_wkb(self._line(item), hex=True), name)
        elif item.is_area():
            self._open.pop(f"{identifier} {name}", None)
            if shape == "point":
                self._pending.on_surface.append(len(self._pending.ids))
            self._pending.add(identifier, item.tags, self._wkb.create_multipolygon(item), name)
        elif item.is_way() or item.tags.get("type") in _AREA_RELATIONS:
            self._open[f"{identifier} {name}"] = name
        else:
            self._left_out[f"{name} as a relation that is no area"] += 1

    def _line(self, way: Any) -> Any:
        """Return the line of a way: where some of its nodes aren't in an extract, the runs of those that are.

        Raises:
            ValueError: no two of its nodes that follow each other are in the file.

        """
        try:
            return shapely.from_wkb(self._wkb.create_linestring(way))
        except osmium.InvalidLocationError:
            places = [(n.lon, n.lat) if n.location.valid() else None for n in way.nodes]
        groups = [list(run) for inside, run in groupby(places, key=lambda place: place is not None) if inside]
        runs = [run for run in groups if len(run) > 1]
        if not runs:
            raise ValueError(say("not-two-follow-each-other"))
        self._cut.append(f"way/{way.id}")
        return shapely.MultiLineString(runs)

    def _classes(self, tags: Any) -> list[tuple[str, Layer]]:
        """Return the classes of an object, one for each layer that takes it."""
        by_layer: dict[str, tuple[str, Layer]] = {}
        for tag in tags:
            for name in (f"{tag.k}={tag.v}", f"{tag.k}=*"):
                if name in self._layers and tag.v != "no":
                    by_layer.setdefault(self._layers[name].id, (name, self._layers[name]))
        return list(by_layer.values())

    def _take_turns(self, turns: list[_Turn], places: Any) -> None:
        for turn in turns:
            members = {role: turn.by_role.get(role, []) for role in ("from", "via", "to")}
            for ref in members["via"]:
                if turn.point is None and ref.startswith("node/"):
                    with suppress(KeyError):
                        place = places.get(int(ref.removeprefix("node/")))
                        turn.point = shapely.Point(place.lon, place.lat) if place.valid() else None
            if turn.point is None or not members["from"] or not members["to"]:
                missing = next((role for role, refs in members.items() if not refs), "via")
                self._refused.append(Refusal(turn.id, say("turn-restriction-without-file", names=missing)))
                continue
            attributes = turn.tags | {role: ";".join(refs) for role, refs in members.items()}
            self._pending.add(turn.id, attributes, shapely.to_wkb(turn.point, hex=True), RESTRICTION)

    def _warnings(self) -> dict[str, tuple[str, ...]]:
        ways = tuple(dict.fromkeys(self._cut))
        cut = {"cut at the edge of the extract: some of its nodes aren't in the file": ways}
        if not self._left_out:
            return cut if self._cut else {}
        shown = ", ".join(f"{count} {kind}" for kind, count in self._left_out.most_common(_LEFT_OUT_SHOWN))
        more = ", …" if len(self._left_out) > _LEFT_OUT_SHOWN else ""
        left_out: dict[str, tuple[str, ...]] = {
            f"{self._left_out.total()} tagged objects that no layer takes left out: {shown}{more}": ()
        }
        return left_out | (cut if self._cut else {})


def _name_of(item: Any) -> str:
    if item.is_area():
        return f"{'way' if item.from_way() else 'relation'}/{item.orig_id()}"
    return f"{_KINDS[item.type_str()]}/{item.id}"


def _main_key(tags: Any) -> str:
    """Return the key that says most of what an object is: not a name, a source or a part of an address."""
    keys = [str(tag.k) for tag in tags]
    return next((k for k in keys if ":" not in k and k not in ("name", "source", "type", "note")), keys[0])
