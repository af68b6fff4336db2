"""Filters: CQL2 (OGC 21-065r2), as text or JSON, to an SQL condition with bound values over a layer's columns."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np
import shapely
from pygeofilter import ast, values
from shapely.geometry import shape

from cim.catalog.common_columns import FILTERABLE
from cim.catalog.model import Layer
from cim.city import City
from cim.errors import BadRequest
from cim.messages import say

ToCity = Callable[[Any, Any], tuple[Any, Any]]  # longitude, latitude → x, y in the city's CRS

# what a filter may name beside a layer's fields → its SQL
COMMON = {column.name: column.sql for column in FILTERABLE}
GEOMETRY_NAMES = ("geometry", "geom")
_COMPARE: Mapping[type[Any], str] = {
    ast.Equal: "=",
    ast.NotEqual: "<>",
    ast.LessThan: "<",
    ast.LessEqual: "<=",
    ast.GreaterThan: ">",
    ast.GreaterEqual: ">=",
    ast.TimeBefore: "<",
    ast.TimeAfter: ">",
    ast.TimeEquals: "=",
}
_ARITHMETIC: Mapping[type[Any], str] = {ast.Add: "+", ast.Sub: "-", ast.Mul: "*", ast.Div: "/"}
_SPATIAL: Mapping[type[Any], str] = {
    ast.GeometryIntersects: "ST_Intersects",
    ast.GeometryWithin: "ST_Within",
    ast.GeometryContains: "ST_Contains",
    ast.GeometryTouches: "ST_Touches",
    ast.GeometryCrosses: "ST_Crosses",
    ast.GeometryOverlaps: "ST_Overlaps",
    ast.GeometryEquals: "ST_Equals",
}
_FUNCTIONS = {"lower": "lower", "upper": "upper", "casei": "lower"}
_EDGE_PARTS = 64
_RECURSION = 200  # operators within operators


@dataclass(frozen=True)
class Condition:
    """An SQL condition over the alias `v`, and the values that it binds."""

    sql: str = "true"
    values: Mapping[str, Any] = field(default_factory=dict)

    def __and__(self, other: "Condition") -> "Condition":
        return Condition(f"({self.sql}) AND ({other.sql})", {**self.values, **other.values})


def parse_filter(text: str, layer: Layer, to_city: ToCity, city: City) -> Condition:
    """Return the condition of a filter.

    Args:
        text: CQL2 text, or CQL2 JSON where it begins with a brace.
        layer: whose fields it names.
        to_city: brings its geometries, in CRS84, to the city's CRS.
        city: in whose CRS, and by whose clock.

    Raises:
        BadRequest: it can't be parsed, names what the layer hasn't, or asks what isn't supported.

    """
    try:
        tree = _parse(text)
        writer = _Writer(layer, to_city, city)
        return Condition(writer.write(tree), writer.values)
    except BadRequest:
        raise
    except RecursionError as fault:
        raise BadRequest(say("filter-nested-too-deeply")) from fault
    except Exception as fault:
        reason = str(fault).strip().splitlines()[0][:200] if str(fault).strip() else type(fault).__name__
        raise BadRequest(say("filter-not-cql2", text=text[:80], reason=reason)) from fault


def _parse(text: str) -> Any:
    if text.lstrip().startswith("{"):
        from pygeofilter.parsers.cql2_json import parse

        return parse(json.loads(text))
    from pygeofilter.parsers.cql2_text import parse as parse_text

    return parse_text(text)


def inside_box(bbox: tuple[float, float, float, float], to_city: ToCity, srid: int) -> Condition:
    """Return the condition that a geometry meets a box of another CRS, whose sides aren't straight in the city's.

    What lies wholly inside is told by its own box, without a look at the rest of it.

    Raises:
        BadRequest: a side isn't a number, or has no place in the city's CRS.

    """
    xmin, ymin, xmax, ymax = bbox
    with np.errstate(over="ignore", invalid="ignore"):
        x, y = to_city(xmin + (xmax - xmin) * _ROUND_X, ymin + (ymax - ymin) * _ROUND_Y)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise BadRequest(say("has-no-place-epsg", xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax, srid=srid))
    bottom, right, top, left = (slice(k * _EDGE_PARTS, (k + 1) * _EDGE_PARTS + 1) for k in range(4))
    inner = x[left].max(), y[bottom].max(), x[right].min(), y[top].min()
    outline = shapely.linearrings(np.c_[x, y])
    values = {"bbox": _hex(shapely.Polygon(outline) if xmin < xmax and ymin < ymax else outline, srid)}
    meets = "ST_Intersects(v.geom, %(bbox)s::geometry)"
    if inner[0] < inner[2] and inner[1] < inner[3]:
        values["bbox_inner"] = _hex(shapely.box(*inner), srid)
        meets = f"(v.geom @ %(bbox_inner)s::geometry OR {meets})"
    return Condition(f"v.geom && %(bbox)s::geometry AND {meets}", values)


# places round a box, from its lower left corner and back to it, as shares of its sides
_ROUND = np.linspace(0, 4, 4 * _EDGE_PARTS + 1)
_ROUND_X, _ROUND_Y = np.interp(_ROUND, range(5), [0, 1, 1, 0, 0]), np.interp(_ROUND, range(5), [0, 0, 1, 1, 0])


def _ewkb(geometry: Any, to_city: ToCity, srid: int) -> str:
    """Return a geometry in degrees as the text of its EWKB in the city's CRS."""
    west, south, east, north = geometry.bounds
    # its edges are straight in degrees: cut so short that they are so in the city's CRS too
    cut = shapely.segmentize(geometry, max(east - west, north - south, 1e-6) / _EDGE_PARTS)
    placed = shapely.transform(cut, lambda xy: np.c_[to_city(xy[:, 0], xy[:, 1])])
    return _hex(placed, srid)


def _hex(geometry: Any, srid: int) -> str:
    """Return the text of a geometry's EWKB."""
    return str(shapely.to_wkb(shapely.set_srid(geometry, srid), hex=True, include_srid=True))


class _Writer:
    """Writes the SQL of a filter's tree; every value is bound."""

    def __init__(self, layer: Layer, to_city: ToCity, city: City) -> None:
        self._layer, self._to_city, self._srid, self._clock = layer, to_city, city.srid, city.clock
        self._columns = {f.name: (f'v."{f.name}"', f.type) for f in layer.all_fields if not f.sensitive}
        self.values: dict[str, Any] = {}

    def write(self, node: Any, depth: int = 0) -> str:
        if depth > _RECURSION:
            raise BadRequest(say("filter-nested-too-deeply"))
        kind = type(node)
        down = depth + 1
        if kind in (ast.And, ast.Or):
            word = "AND" if kind is ast.And else "OR"
            return f"({self.write(node.lhs, down)} {word} {self.write(node.rhs, down)})"
        if kind is ast.Not:
            return f"(NOT {self.write(node.sub_node, down)})"
        if kind in _COMPARE:
            return self._compared(node, _COMPARE[kind], down)
        if kind in _ARITHMETIC:
            return f"({self._number(node.lhs, down)} {_ARITHMETIC[kind]} {self._number(node.rhs, down)})"
        if kind in _SPATIAL:
            return self._spatial(node, _SPATIAL[kind])
        return self._other(node, down)

    def _other(self, node: Any, depth: int) -> str:
        negated = "NOT " if getattr(node, "not_", False) else ""
        if isinstance(node, ast.Between):
            low, high = (self._value(v, self._type(node.lhs)) for v in (node.low, node.high))
            return f"({self.write(node.lhs, depth)} {negated}BETWEEN {low} AND {high})"
        if isinstance(node, ast.In):
            listed = ", ".join(self._value(v, self._type(node.lhs)) for v in node.sub_nodes)
            return f"({self.write(node.lhs, depth)} {negated}IN ({listed}))"
        if isinstance(node, ast.Like):
            return f"({self.write(node.lhs, depth)}::text {negated}LIKE {self._bind(str(node.pattern))})"
        if isinstance(node, ast.IsNull):
            return f"({self.write(node.lhs, depth)} IS {negated}NULL)"
        if isinstance(node, ast.Attribute):
            return self._attribute(node.name)
        if isinstance(node, ast.Function) and node.name.lower() in _FUNCTIONS and len(node.arguments) == 1:
            return f"{_FUNCTIONS[node.name.lower()]}({self.write(node.arguments[0], depth)}::text)"
        if isinstance(node, bool | int | float | str | date | datetime):
            return self._value(node, None)
        raise BadRequest(say("filter-not-supported", name=type(node).__name__))

    def _compared(self, node: Any, operator: str, depth: int) -> str:
        sides = []
        for side, other in ((node.lhs, node.rhs), (node.rhs, node.lhs)):
            literal = isinstance(side, bool | int | float | str | date | datetime)
            sides.append(self._value(side, self._type(other)) if literal else self.write(side, depth))
        return f"({sides[0]} {operator} {sides[1]})"

    def _number(self, node: Any, depth: int) -> str:
        return f"{self.write(node, depth)}::float8"

    def _attribute(self, name: str) -> str:
        if name in self._columns:
            return self._columns[name][0]
        if name in COMMON:
            return COMMON[name]
        field_names = ", ".join([*self._columns, *COMMON])
        raise BadRequest(say("no-such-field-to-filter", layer=self._layer.id, name=name, fields=field_names))

    def _type(self, node: Any) -> str | None:
        if isinstance(node, ast.Attribute):
            if node.name in self._columns:
                return self._columns[node.name][1]
            return "timestamp" if node.name.startswith("valid_") else "integer" if node.name == "load" else "text"
        return None

    def _value(self, value: Any, kind: str | None) -> str:
        """Bind a literal as the type of what it is compared with: codes such as 007 are text however written."""
        if kind == "text":
            return self._bind(str(value))
        if kind == "timestamp":
            return f"{self._bind(self._moment(value))}::timestamptz"
        if kind == "date":
            return f"{self._bind(self._day(value))}::date"
        if kind in ("integer", "number"):
            try:
                return f"{self._bind(float(value))}::float8"
            except (TypeError, ValueError):
                raise BadRequest(say("filter-value-not-number", value=value)) from None
        if kind is None and isinstance(value, float | int) and not isinstance(value, bool):
            return f"{self._bind(float(value))}::float8"
        return self._bind(value)

    def _moment(self, value: Any) -> datetime:
        """Return the moment that a literal means: of a day its first one."""
        if isinstance(value, date) and not isinstance(value, datetime):
            return self._clock.begins(value)
        return self._clock.meant(value) if isinstance(value, datetime) else self._clock.read(str(value))

    def _day(self, value: Any) -> date:
        """Return the day that a literal means: of a moment that in which it lies."""
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        return self._clock.day(self._moment(value))

    def _spatial(self, node: Any, function: str) -> str:
        sides = [node.lhs, node.rhs]
        names = [side.name for side in sides if isinstance(side, ast.Attribute)]
        shapes = [side for side in sides if not isinstance(side, ast.Attribute)]
        if len(names) != 1 or names[0] not in GEOMETRY_NAMES or len(shapes) != 1:
            raise BadRequest(say("takes-property-geometry-one-geometry", function=function))
        bound = f"{self._bind(self._shape(shapes[0]))}::geometry"
        ordered = ("v.geom", bound) if isinstance(node.lhs, ast.Attribute) else (bound, "v.geom")
        return f"(v.geom && {bound} AND {function}({ordered[0]}, {ordered[1]}))"

    def _shape(self, literal: Any) -> str:
        if isinstance(literal, values.Envelope):
            geometry = shapely.box(literal.x1, literal.y1, literal.x2, literal.y2)
        else:
            geometry = shape(literal.geometry if isinstance(literal, values.Geometry) else literal)
        return _ewkb(geometry, self._to_city, self._srid)

    def _bind(self, value: Any) -> str:
        name = f"filter_{len(self.values)}"
        self.values[name] = value
        return f"%({name})s"
