"""Out again as CityJSONSeq 2.0: every body of a layer with its level of detail, semantics and attributes.

Points and lines that have heights are written too, at LoD0; a flat outline has no place in a city model, and its object
goes without geometry.
"""

import json
import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from cim.catalog.model import Layer
from cim.city import City
from cim.errors import BadRequest
from cim.geometry.body_batch import SURFACE_CLASSES, Bodies
from cim.geometry.canonical import RESOLUTION_M
from cim.geometry.stored_form import decode
from cim.messages import say
from cim.read.layers import Query, conditions
from cim.store.connection import Cursor
from cim.store.schema import table
from cim.write.cityjson_types import GENERIC, SURFACE_OF, part_type, standard_lod, whole_type

SCALE_M = RESOLUTION_M


def write_cityjsonseq(cursor: Cursor, city: City, layer: Layer, query: Query, path: Path) -> int:
    """Write a layer; objects and their parts are one CityJSONFeature.

    Raises:
        BadRequest: the layer isn't one of objects.

    Returns:
        How many objects, parts included.

    """
    if layer.geometry is None:
        raise BadRequest(say("has-no-object-class-city", layer=layer.id))
    clauses, values = conditions(layer, query)
    fields = [f for f in layer.fields if not (f.sensitive and query.public_only)]
    names = "".join(f', v."{f.name}"' for f in fields)
    count = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(_header(city), ensure_ascii=False) + "\n")
        rows = cursor.stream(
            f"""SELECT v.id, v.parent_id, v.lods, bodies.faces, bodies.closed, v.extra,
                       CASE WHEN v.bodies IS NULL AND ST_NDims(v.geom) > 2 THEN ST_AsBinary(v.geom) END{names}
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
    of_class = layer.field("object_class")
    for row in rows:
        identifier, parent, lods, blobs, closed, extra, shape, *values = row
        fields = {n: _plain(v) for n, v in zip(names, values, strict=True) if v is not None}
        attributes = (extra or {}) | {n: v for n, v in fields.items() if v is not None}
        object_class = attributes.get(of_class.name) if of_class else None
        classes = [object_class] if object_class else layer.object_classes
        made: dict[str, Any] = {"attributes": attributes}
        if parent in objects:
            made |= {"type": part_type(objects[parent]["type"], classes), "parents": [parent]}
            objects[parent].setdefault("children", []).append(identifier)
        else:  # its whole isn't written: it is in another layer, or left out by a filter
            made["type"] = whole_type(classes)
            attributes |= {"parent_id": parent} if parent else {}
        if made["type"] == GENERIC:
            attributes.setdefault("class", object_class or layer.id)
        geometry = []
        for lod, blob, is_closed in zip(lods or (), blobs or (), closed or (), strict=True):
            body = decode([bytes(blob)])
            surface = SURFACE_OF.get(made["type"], "" if is_closed else "MultiSurface")
            geometry.append(_geometry(body, standard_lod(lod), len(vertices), surface))
            vertices += np.rint(body.vertices / SCALE_M).astype(np.int64).tolist()
        if shape and layer.geometry in _OF_SHAPES:
            geometry += _OF_SHAPES[layer.geometry](shapely.from_wkb(shape), vertices)
        if geometry:
            made["geometry"] = geometry
        objects[identifier] = made
    return {"type": "CityJSONFeature", "id": rows[0][0], "CityObjects": objects, "vertices": vertices}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool) else str(value)


def _point(shape: Any, vertices: list[list[int]]) -> list[dict[str, Any]]:
    numbers = _added(shape, vertices)
    return [{"type": "MultiPoint", "lod": "0", "boundaries": numbers}] if numbers else []


def _lines(shape: Any, vertices: list[list[int]]) -> list[dict[str, Any]]:
    lines = [numbers for part in shapely.get_parts(shape) if (numbers := _added(part, vertices))]
    return [{"type": "MultiLineString", "lod": "0", "boundaries": lines}] if lines else []


_OF_SHAPES = {"Point": _point, "MultiLineString": _lines}


def _added(shape: Any, vertices: list[list[int]]) -> list[int]:
    """Add the vertices of a shape, and return their numbers; of one with a height that isn't known, none."""
    points = shapely.get_coordinates(shape, include_z=True)
    if not np.isfinite(points).all():
        return []
    first = len(vertices)
    vertices += np.rint(points / SCALE_M).astype(np.int64).tolist()
    return [*range(first, len(vertices))]


def _geometry(body: Bodies, lod: str, shift: int, surface: str) -> dict[str, Any]:
    """Return a body as the kind of surface that is named, or as a solid."""
    indices = (body.indices + shift).tolist()
    rings = [indices[a:b] for a, b in pairwise(body.index_start.tolist())]
    faces = [rings[a:b] for a, b in pairwise(body.ring_start.tolist())]
    classes = [SURFACE_CLASSES[c] for c in body.face_class.tolist()]
    kinds = [k for k in dict.fromkeys(classes) if k]
    values = [kinds.index(c) if c else None for c in classes]
    geometry: dict[str, Any] = {"type": surface or "Solid", "lod": lod, "boundaries": faces if surface else [faces]}
    if kinds:
        surfaces = [{"type": k} for k in kinds]
        geometry["semantics"] = {"surfaces": surfaces, "values": values if surface else [values]}
    return geometry
