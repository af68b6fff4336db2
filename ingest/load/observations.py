"""Observations: rows of a table to values of features at moments, refused where feature, time or value is missing."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cim.catalog.model import Layer
from cim.clock import Clock
from cim.errors import BadSettings
from cim.features import Features
from cim.geometry.stored_form import content_hash
from cim.messages import say
from cim.store.binary_copy import ENCODERS, encoded, wire_rows
from cim.store.schema import field_columns, record_columns
from ingest.formats.contract import Incoming
from ingest.load.columns import Mapped, convert, map_fields, plain, unknown_codes
from ingest.load.prepare import Rows

TIME_PARTS = (
    ("year", "年"),
    ("month", "月"),
    ("day", "日"),
    ("hour", "时", "小时"),
    ("minute", "分"),
    ("second", "秒"),
)
NOTHING = frozenset({"na", "n/a", "nan", "null", "none", "-", "--", "无"})  # how tables write that there is no value
_POINTS = ("N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW")
COMPASS = {point: 22.5 * number for number, point in enumerate(_POINTS)}  # degrees clockwise from north


def prepare_observations(features: Features, incoming: Incoming) -> Rows:
    """Make rows of a batch of observations; where a table has no column for the feature, its `id` is the feature's.

    A time may stand in columns of its parts (year, month, day …). Where the table's `values` are declared, each of
    those columns is a series of its own, of the feature `feature/column`.
    """
    layer, report = incoming.layer, incoming.report
    records = with_times(features.attributes, layer, incoming.columns)
    wide = incoming.values
    narrow = [{name: value for name, value in record.items() if name not in wide} for record in records]
    mapped = map_fields(narrow if wide else records, layer, incoming.catalog, incoming.columns)
    for warning, positions in mapped.misfits.items():
        report.warn(warning, [_label(mapped.ids, p) for p in positions])
    clock = Clock(incoming.timezone)
    columns: dict[str, list[Any]] = {c.name: [] for c in record_columns(layer)}
    coded = list(incoming.catalog.coded_fields(layer))
    unlisted: dict[str, list[str]] = {}
    without_offset = 0
    entries = _series_of(records, features.places, incoming) if wide else _values_of(mapped, layer)
    for row, series, values, extra in entries:
        feature, time = mapped.columns["feature"][row] or mapped.ids[row], mapped.columns["time"][row]
        values_of_row = {f.name: [values[f.name]] for f, _ in coded}
        unknown = unknown_codes(values_of_row, layer, incoming.catalog) if coded else []
        closed = (u.sentence for u in unknown if u.codes.closed)
        reason = _missing(feature, time, values, layer) or next(closed, "")
        if reason:
            report.refuse(_label(mapped.ids, row), reason)
            continue
        for of_field in unknown:
            unlisted.setdefault(of_field.sentence, []).append(_label(mapped.ids, row))
        if time.tzinfo is None:
            without_offset += 1
        moment = clock.meant(time).astimezone(UTC)
        feature = f"{incoming.id_prefix}{feature}{series}"
        identifier = name_of(feature, moment)
        row_values = {"id": identifier, "feature": feature, "time": moment, "extra": extra, **values}
        row_values["content"] = _content(row_values, layer)
        for name, column in columns.items():
            column.append(row_values[name])
    for sentence, labels in unlisted.items():
        report.warn(sentence, labels)
    if without_offset:
        report.warn(say("times-without-offset", without_offset=without_offset, timezone=incoming.timezone))
    wired = wire_rows([encoded(c, columns[c.name]) for c in record_columns(layer)])
    return Rows(columns["id"], columns["content"], wired)


Entry = tuple[int, str, Mapping[str, Any], Any]  # row, what its feature's id ends with, values by field, what is kept


def _values_of(mapped: Mapped, layer: Layer) -> Iterator[Entry]:
    fields = [f.name for f in layer.fields]
    for row in range(len(mapped.ids)):
        yield row, "", {name: mapped.columns[name][row] for name in fields}, mapped.extra[row]


def _series_of(
    records: Sequence[Mapping[str, Any]], places: Sequence[str | None] | None, incoming: Incoming
) -> Iterator[Entry]:
    """Yield the values of a table's columns of values; a place without one is a gap, and counted.

    Raises:
        BadSettings: the layer's observations have more than one value, or a column isn't there.

    """
    layer = incoming.layer
    if len(layer.fields) != 1:
        raise BadSettings(say("values-layer-one-value", file=incoming.where, layer=layer.id))
    (field,) = layer.fields
    names = {name for record in records for name in record}
    if missing := sorted(set(incoming.values) - names):
        raise BadSettings(say("values-column-missing", file=incoming.where, names=", ".join(missing)))
    stand = [place or f"row {row + 1}" for row, place in enumerate(places or [None] * len(records))]
    for name in incoming.values:
        gaps: list[str] = []
        for row, record in enumerate(records):
            raw = plain(record.get(name))
            if raw is None or str(raw).casefold() in NOTHING:
                gaps.append(stand[row])
                continue
            value = convert(COMPASS.get(str(raw), raw), field, incoming.catalog)
            if value is None:
                called = f"{name}, {stand[row]}"
                incoming.report.refuse(called, say("value-not-of-type", type=field.type, raw=raw), source=record)
                continue
            yield row, f"/{name}", {field.name: value}, None
        if gaps:
            incoming.report.warn(say("no-value-column", name=name), gaps)


def with_times(
    records: Sequence[Mapping[str, Any]], layer: Layer, columns: Mapping[str, str]
) -> Sequence[Mapping[str, Any]]:
    """Return records with a time, put together of its parts where the table has those and no column of times."""
    names = dict.fromkeys(name for record in records for name in record)
    if any(columns.get(name, name).casefold() in _names_of_time(layer) for name in names):
        return records
    parts = [next((name for name in names if name.casefold() in aliases), None) for aliases in TIME_PARTS]
    if None in parts[:3]:
        return records
    given = [name for name in parts if name]
    return [
        {name: value for name, value in record.items() if name not in given} | {"time": _together(record, parts)}
        for record in records
    ]


def _names_of_time(layer: Layer) -> set[str]:
    return {alias for alias, field in layer.field_by_alias.items() if field.name == "time"}


def _together(record: Mapping[str, Any], parts: Sequence[str | None]) -> str | None:
    try:
        numbers = [int(float(record[name])) for name in parts if name]
        return datetime(*numbers).isoformat()  # type: ignore[arg-type]
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def name_of(feature: str, moment: datetime) -> str:
    """Return the id of an observation: its feature and its moment in UTC."""
    return f"{feature}@{moment:%Y-%m-%dT%H:%M:%S}{f'.{moment.microsecond:06}' if moment.microsecond else ''}Z"


def _label(ids: Sequence[str | None], row: int) -> str:
    return f"{ids[row] or 'record'} in row {row + 1}"


def _missing(feature: str | None, time: datetime | None, values: Mapping[str, Any], layer: Layer) -> str:
    if not feature:
        return say("nothing-says-which-feature-observes")
    if time is None:
        return say("time-missing-or-unreadable")
    if all(value is None for value in values.values()):
        return say("no-value", values=", ".join(values))
    lacking = [f.name for f in layer.fields if f.obligation == "M" and values[f.name] is None]
    return say("no-value", values=", ".join(lacking)) if lacking else ""


def _content(values: Mapping[str, Any], layer: Layer) -> bytes:
    columns = [c for c in field_columns(layer) if values[c.name] is not None]
    parts = [c.name.encode() + b"\0" + ENCODERS[c.sql_type](values[c.name]) for c in columns]
    extra = values["extra"]
    return content_hash(*parts, ENCODERS["jsonb"](dict(sorted(extra.items()))) if extra else b"")
