"""Observations: rows of a table to values of features at moments, refused where feature, time or value is missing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from cim.bodies import content_hash
from cim.catalog.model import Layer
from cim.copy import ENCODERS, encoded, wire_rows
from cim.model import Features
from cim.schema import field_columns, record_columns
from ingest.fields import map_fields
from ingest.records import Preparation, Rows


def prepare_observations(features: Features, preparation: Preparation) -> Rows:
    """Make rows of a batch of observations; where a table has no column for the feature, its `id` is the feature's."""
    layer, report = preparation.layer, preparation.report
    mapped = map_fields(features.attributes, layer, preparation.catalog, preparation.columns)
    for what, positions in mapped.misfits.items():
        report.warn(what, [_label(mapped.ids, p) for p in positions])
    zone = ZoneInfo(preparation.timezone)
    fields = [f.name for f in layer.fields]
    columns: dict[str, list[Any]] = {c.name: [] for c in record_columns(layer)}
    without_offset = 0
    for row, own in enumerate(mapped.ids):
        feature, time = mapped.columns["feature"][row] or own, mapped.columns["time"][row]
        values = {name: mapped.columns[name][row] for name in fields}
        reason = _missing(feature, time, values, layer)
        if reason:
            report.refuse(_label(mapped.ids, row), reason)
            continue
        if time.tzinfo is None:
            without_offset += 1
            time = time.replace(tzinfo=zone)
        moment = time.astimezone(UTC)
        feature = f"{preparation.id_prefix}{feature}"
        identifier = name_of(feature, moment)
        row_values = {"id": identifier, "feature": feature, "time": moment, "extra": mapped.extra[row], **values}
        row_values["content"] = _content(row_values, layer)
        for name, column in columns.items():
            column.append(row_values[name])
    if without_offset:
        report.warn(f"{without_offset} times without an offset: taken as {preparation.timezone}")
    wired = wire_rows([encoded(c, columns[c.name]) for c in record_columns(layer)])
    return Rows(columns["id"], columns["content"], wired)


def name_of(feature: str, moment: datetime) -> str:
    """Return the id of an observation: its feature and its moment in UTC."""
    return f"{feature}@{moment:%Y-%m-%dT%H:%M:%S}{f'.{moment.microsecond:06}' if moment.microsecond else ''}Z"


def _label(ids: Sequence[str | None], row: int) -> str:
    return f"{ids[row] or 'record'} in row {row + 1}"


def _missing(feature: str | None, time: datetime | None, values: Mapping[str, Any], layer: Layer) -> str:
    if not feature:
        return "nothing says which feature it observes"
    if time is None:
        return "no time, or one that can't be read"
    if all(value is None for value in values.values()):
        return f"no value: {', '.join(values)}"
    lacking = [f.name for f in layer.fields if f.obligation == "M" and values[f.name] is None]
    return f"no value: {', '.join(lacking)}" if lacking else ""


def _content(values: Mapping[str, Any], layer: Layer) -> bytes:
    columns = [c for c in field_columns(layer) if values[c.name] is not None]
    parts = [c.name.encode() + b"\0" + ENCODERS[c.sql_type](values[c.name]) for c in columns]
    extra = values["extra"]
    return content_hash(*parts, ENCODERS["jsonb"](dict(sorted(extra.items()))) if extra else b"")
