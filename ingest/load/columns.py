"""From a file's columns to a layer's fields: found by name or alias, turned into the field's type, the rest kept."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from cim.catalog.model import Catalog, CodeList, Layer, LayerField
from cim.clock import Clock
from cim.messages import say

ID_NAMES = ("id", "identifier", "gml_id", "编号", "标识码")
Json = Any

_FEET_INCHES = re.compile(r"""^\s*(\d+)\s*'\s*(\d+(?:\.\d+)?)\s*("|'')\s*$""")
# 12.5 m, 40 ft, 40', 18,5: a number as people write it, with the unit that may follow
_NUMBER = re.compile(
    r"^\s*[约≈~]?\s*([+-]?\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?)\s*(m|米|ft|feet|'|英尺|层|°|km/h|mph)?\s*$"
)
_EXACT = 2.0**53  # up to here a float tells every integer from its neighbours
_INCHES = 12
_FOOT_M, _MILE_KM = 0.3048, 1.609344
_IN_METRIC = {"ft": _FOOT_M, "feet": _FOOT_M, "'": _FOOT_M, "英尺": _FOOT_M, "mph": _MILE_KM}


@dataclass(frozen=True)
class Mapped:
    """Records of a batch in the layer's terms: one list a field, the rest per record, and what didn't fit."""

    columns: dict[str, list[Any]]
    extra: list[dict[str, Json] | None]
    ids: list[str | None]
    misfits: dict[str, list[int]]  # what → positions

    def by(self, clock: Clock, layer: Layer) -> "Mapped":
        """Return the records with every time as a moment: one without an offset is by the clock."""
        timed = [f.name for f in layer.all_fields if f.type == "timestamp"]
        meant = {name: [clock.meant(time) if time else None for time in self.columns[name]] for name in timed}
        return replace(self, columns=self.columns | meant)

    def take(self, keep: Sequence[int]) -> "Mapped":
        """Return the records at some positions."""
        place = {old: new for new, old in enumerate(keep)}
        return Mapped(
            {name: [values[r] for r in keep] for name, values in self.columns.items()},
            [self.extra[r] for r in keep],
            [self.ids[r] for r in keep],
            {warning: [place[r] for r in records if r in place] for warning, records in self.misfits.items()},
        )


@dataclass(frozen=True)
class UnknownCodes:
    """Where records have values of a coded field that its list doesn't have."""

    field: str
    codes: CodeList
    records: list[int]

    @property
    def sentence(self) -> str:
        """What is reported of them."""
        if self.codes.closed:
            return say("value-code-list-not-have-which-closed", field=self.field, codes=self.codes.id)
        return say("value-code-list-not-have", field=self.field, codes=self.codes.id)


def unknown_codes(columns: Mapping[str, Sequence[Any]], layer: Layer, catalog: Catalog) -> list[UnknownCodes]:
    """Return for each coded field of a layer which records have a value that isn't in its list; none has no value."""
    unknown = []
    for field, codes in catalog.coded_fields(layer):
        values = columns[field.name]
        beyond = set(values) - codes.values - {None}
        if beyond:
            unknown.append(UnknownCodes(field.name, codes, [r for r, value in enumerate(values) if value in beyond]))
    return unknown


def map_fields(
    records: Sequence[Mapping[str, Any]], layer: Layer, catalog: Catalog, columns: Mapping[str, str]
) -> Mapped:
    """Map attributes to fields.

    A value that doesn't fit its field's type stays in `extra` under the source's name, with a warning.

    Args:
        records: attributes by the source's names.
        layer: whose fields are filled.
        catalog: knows the code lists.
        columns: source name → field name (or `id`), as a dataset.toml says; wins over aliases.

    """
    gathered = _Gathered(layer, catalog, len(records))
    alike: dict[tuple[str, ...], list[int]] = {}
    for position, names in enumerate(map(tuple, records)):
        alike.setdefault(names, []).append(position)
    for names, positions in alike.items():  # column by column: the records of a table all have the same names
        rows = records if len(positions) == len(records) else [records[p] for p in positions]
        for name in names:
            column = plain_column([row[name] for row in rows])
            gathered.take(name, column, positions, _target(name, layer, columns))
    return gathered.mapped()


class _Gathered:
    """What records say, in the layer's terms, as it is mapped column by column."""

    def __init__(self, layer: Layer, catalog: Catalog, count: int) -> None:
        self._catalog = catalog
        self._columns: dict[str, list[Any]] = {f.name: [None] * count for f in layer.all_fields}
        self._extra: list[dict[str, Json]] = [{} for _ in range(count)]
        self._ids: list[str | None] = [None] * count
        self._misfits: dict[str, list[int]] = {}

    def take(
        self, name: str, column: Sequence[Json], positions: Sequence[int], target: LayerField | str | None
    ) -> None:
        """Take in the plain values of one name, which the records at some positions have."""
        given = [(position, value) for position, value in zip(positions, column, strict=True) if value is not None]
        if target is None:
            for position, value in given:
                self._extra[position][name] = value
        elif isinstance(target, str):
            for position, value in given:
                self._ids[position] = _as_text(value)
        elif given:
            self._field(name, given, target)

    def _field(self, name: str, given: Sequence[tuple[int, Json]], target: LayerField) -> None:
        """Fill a field; what doesn't fit it, or comes second, stays under its own name."""
        values = self._columns[target.name]
        misfits = []
        converted = convert_column([value for _, value in given], target, self._catalog)
        for (position, value), fitting in zip(given, converted, strict=True):
            if values[position] is None and fitting is not None:
                values[position] = fitting
                continue
            if values[position] is None:
                misfits.append(position)
            self._extra[position][name] = value
        if misfits:
            warning = say("value-of-other-type-kept-in-extra", name=name, type=target.type, target=target.name)
            self._misfits[warning] = sorted([*self._misfits.get(warning, ()), *misfits])

    def mapped(self) -> Mapped:
        """Return all of it."""
        return Mapped(self._columns, [rest or None for rest in self._extra], self._ids, self._misfits)


def _target(name: str, layer: Layer, columns: Mapping[str, str]) -> LayerField | str | None:
    wanted = columns.get(name, name).casefold()
    field = layer.field_by_alias.get(wanted)
    if field is None and wanted in ID_NAMES:
        return "id"
    return field


def plain(value: Any) -> Json:
    """Return a value as JSON has it; nothing, NaN and empty text are None, a whole float is an integer."""
    if isinstance(value, str):
        return value.replace("\x00", "").strip() or None  # PostgreSQL's text has no zero character
    if value is None or isinstance(value, int):
        return value
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return _plain_float(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return value.hex()
    return value if isinstance(value, dict | list | tuple) else str(value)  # a UUID, a time of day, a duration


def plain_column(column: list[Any]) -> list[Json]:
    """Return the values of a column as JSON has them."""
    kinds = set(map(type, column)) - {type(None)}
    if kinds == {str}:
        return [value and (value.replace("\x00", "").strip() or None) for value in column]
    if kinds == {float}:
        return [value if value is None else _plain_float(value) for value in column]
    return column if kinds <= {int} else [plain(value) for value in column]


def _plain_float(value: float) -> Json:
    if value.is_integer():
        return int(value) if abs(value) < _EXACT else value
    return value if math.isfinite(value) else None


def convert_column(column: Sequence[Json], field: LayerField, catalog: Catalog) -> list[Any]:
    """Return the values of a column in the field's type, each kind of value looked at once; None: it doesn't fit."""
    kinds = set(map(type, column))
    if field.type == "number" and kinds <= {int, float} and catalog.codes(field) is None:
        return [float(value) for value in column]
    if not kinds <= {str, int, float, bool}:
        return [convert(value, field, catalog) for value in column]
    if kinds == {str}:
        if field.type == "text" and catalog.codes(field) is None:
            return list(column)
        meanings = {text: convert(text, field, catalog) for text in set(column)}
        return [meanings[text] for text in column]
    keys = list(zip(map(type, column), column, strict=True))  # 1, 1.0 and true are one key to a dict
    converted = {key: convert(key[1], field, catalog) for key in set(keys)}
    return [converted[key] for key in keys]


def convert(value: Json, field: LayerField, catalog: Catalog) -> Any:
    """Return a plain value in the field's type, or None if it doesn't fit; a code that its list lacks is kept."""
    if isinstance(value, dict | list):
        return None
    codes = catalog.codes(field)
    if codes is not None:
        text = _as_text(value)
        return codes.by_alias.get(text.casefold(), text)
    if field.type == "text":
        return _as_text(value)
    if field.type == "boolean":
        return _as_boolean(value)
    if field.type in ("integer", "number"):
        number = _as_number(value)
        if field.type == "number" or number is None:
            return number
        return int(number) if float(number).is_integer() else None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment.date() if field.type == "date" else moment


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else "true" if value is True else "false" if value is False else str(value)


def _as_boolean(value: Json) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"1": True, "true": True, "yes": True, "是": True, "0": False, "false": False, "no": False, "否": False}.get(
        str(value).casefold()
    )


def _as_number(value: Json) -> float | None:
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and (both := _FEET_INCHES.match(value)):
        return (int(both[1]) + float(both[2]) / _INCHES) * _FOOT_M
    match = _NUMBER.match(str(value)) if isinstance(value, str) else None
    if not match:
        return None
    number = float(match[1].replace(",", "."))
    return number * _IN_METRIC.get(match[2] or "", 1.0)
