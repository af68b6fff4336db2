"""Out again as CityJSONSeq 2.0: every body of a layer with its level of detail, semantics and attributes."""

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cim.catalog.model import Layer
from cim.city import City
from cim.errors import BadRequest
from cim.geometry.bodies import RESOLUTION_M, SURFACE_CLASSES, Bodies, decode
from cim.read.layers import Query, conditions
from cim.store.connection import Cursor
from cim.store.schema import table

SCALE_M = RESOLUTION_M


def write_cityjsonseq(cursor: Cursor, city: City, layer: Layer, query: Query, path: Path) -> int:
    """Write a layer; objects and their parts are one CityJSONFeature.

    Raises:
        BadRequest: the layer's objects have no class in city models.

    Returns:
        How many objects, parts included.

    """
    if not layer.object_classes:
        raise BadRequest(f"{layer.id} has no object class in city models: another format")
    clauses, values = conditions(layer, query)
    fields = [f for f in layer.fields if not (f.sensitive and query.public_only)]
    names = "".join(f', v."{f.name}"' for f in fields)
    count = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(_header(city), ensure_ascii=False) + "\n")
        rows = cursor.stream(
            f"""SELECT v.id, v.parent_id, v.lods,
                       bodies.faces, bodies.closed, v.extra{names}
                FROM {table(layer)} v LEFT JOIN LATERAL (
                    SELECT array_agg(b.faces ORDER BY n) AS faces, array_agg(b.closed ORDER BY n) AS closed
                    FROM unnest(v.bodies) WITH ORDINALITY AS u(hash, n) JOIN cim.body b USING (hash)) bodies ON true
                WHERE {" AND ".join(clauses)}
                ORDER BY coalesce(v.parent_id, v.id), v.parent_id IS NOT NULL, v.id
                {f"LIMIT {int(query.limit)}" if query.limit else ""}""",
            values,
        )
        for family in _families(rows):
            file.write(json.dumps(_feature(family, layer, [f.name for f in fields]), ensure_ascii=False) + "\n")
            count += len(family)
    return count


def _header(city: City) -> dict[str, Any]:
    return {
        "type": "CityJSON",
        "version": "2.0",
        "transform": {"scale": [SCALE_M] * 3, "translate": [0, 0, 0]},
        "metadata": {
            "referenceSystem": f"https://www.opengis.net/def/crs/EPSG/0/{city.srid}",
            "title": f"{city.name}, heights in {city.vertical_datum}",
        },
        "CityObjects": {},
        "vertices": [],
    }


def _families(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield an object with its parts, which follow it."""
    family: list[Any] = []
    for row in rows:
        if family and row[1] != family[0][0]:
            yield family
            family = []
        family.append(row)
    if family:
        yield family


def _feature(rows: list[Any], layer: Layer, names: list[str]) -> dict[str, Any]:
    objects: dict[str, Any] = {}
    vertices: list[list[int]] = []
    whole, *part = layer.object_classes
    for row in rows:
        identifier, parent, lods, blobs, closed, extra, *values = row
        attributes = (extra or {}) | {n: _plain(v) for n, v in zip(names, values, strict=True) if v is not None}
        made: dict[str, Any] = {"type": part[0] if parent and part else whole, "attributes": attributes}
        if parent:
            made["parents"] = [parent]
            objects.get(parent, {}).setdefault("children", []).append(identifier)
        geometry = []
        for lod, blob, is_closed in zip(lods or (), blobs or (), closed or (), strict=True):
            body = decode([bytes(blob)])
            geometry.append(_geometry(body, lod, len(vertices), solid=is_closed))
            vertices += np.rint(body.vertices / SCALE_M).astype(np.int64).tolist()
        if geometry:
            made["geometry"] = geometry
        objects[identifier] = made
    return {"type": "CityJSONFeature", "id": rows[0][0], "CityObjects": objects, "vertices": vertices}


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else str(value)


def _geometry(body: Bodies, lod: str, shift: int, *, solid: bool) -> dict[str, Any]:
    indices = (body.indices + shift).tolist()
    rings = [indices[a:b] for a, b in pairwise(body.index_start.tolist())]
    faces = [rings[a:b] for a, b in pairwise(body.ring_start.tolist())]
    classes = [SURFACE_CLASSES[c] for c in body.face_class.tolist()]
    kinds = [k for k in dict.fromkeys(classes) if k]
    values = [kinds.index(c) if c else None for c in classes]
    return {
        "type": "Solid" if solid else "MultiSurface",
        "lod": lod,
        "boundaries": [faces] if solid else faces,
        "semantics": {"surfaces": [{"type": k} for k in kinds], "values": [values] if solid else values},
    }
