"""From a file's columns to a layer's fields: found by name or alias, turned into the field's type, the rest kept."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from cim.catalog.model import Catalog, Layer, LayerField

ID_NAMES = ("id", "identifier", "gml_id", "编号", "标识码")
Json = Any

# 12.5 m, 40 ft, 40', 18,5: a number as people write it, with the unit that may follow
_NUMBER = re.compile(r"^\s*([+-]?\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?)\s*(m|米|ft|feet|'|英尺|层|°|km/h|mph)?\s*$")
_FOOT_M, _MILE_KM = 0.3048, 1.609344
_IN_METRIC = {"ft": _FOOT_M, "feet": _FOOT_M, "'": _FOOT_M, "英尺": _FOOT_M, "mph": _MILE_KM}


@dataclass(frozen=True)
class Mapped:
    """Records of a batch in the layer's terms: one list a field, the rest per record, and what didn't fit."""

    columns: dict[str, list[Any]]
    extra: list[dict[str, Json] | None]
    ids: list[str | None]
    misfits: dict[str, list[int]]  # what → positions

    def take(self, keep: Sequence[int]) -> "Mapped":
        """Return the records at some positions."""
        place = {old: new for new, old in enumerate(keep)}
        return Mapped(
            {name: [values[r] for r in keep] for name, values in self.columns.items()},
            [self.extra[r] for r in keep],
            [self.ids[r] for r in keep],
            {what: [place[r] for r in records if r in place] for what, records in self.misfits.items()},
        )


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
    values: dict[str, list[Any]] = {f.name: [None] * len(records) for f in layer.all_fields}
    extra: list[dict[str, Json] | None] = []
    ids: list[str | None] = []
    misfits: dict[str, list[int]] = {}
    names = {name: _target(name, layer, columns) for name in dict.fromkeys(k for r in records for k in r)}
    for position, record in enumerate(records):
        rest: dict[str, Json] = {}
        identifier = None
        for name, raw in record.items():
            value = plain(raw)
            if value is None:
                continue
            target = names[name]
            if isinstance(target, str):
                identifier = _as_text(value)
            elif target is None or values[target.name][position] is not None:
                rest[name] = value
            else:
                converted = convert(value, target, catalog)
                if converted is None:
                    rest[name] = value
                    misfits.setdefault(f"{name} isn't a {target.type} for {target.name}: kept in extra", []).append(
                        position
                    )
                else:
                    values[target.name][position] = converted
        extra.append(rest or None)
        ids.append(identifier)
    return Mapped(values, extra, ids, misfits)


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
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return value.hex()
    return value if isinstance(value, dict | list | tuple) else str(value)  # a UUID, a time of day, a duration


def convert(value: Json, field: LayerField, catalog: Catalog) -> Any:
    """Return a plain value in the field's type, or None if it doesn't fit."""
    codes = catalog.codes(field)
    if codes is not None:
        text = _as_text(value)
        return codes.by_alias.get(text.casefold(), text)
    if field.type == "text":
        return _as_text(value) if not isinstance(value, dict | list) else None
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
    match = _NUMBER.match(str(value)) if isinstance(value, str) else None
    if not match:
        return None
    number = float(match[1].replace(",", "."))
    return number * _IN_METRIC.get(match[2] or "", 1.0)
