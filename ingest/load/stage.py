"""From placed records to the store: staging tables, one kind of stage for each kind of layer."""

from collections.abc import Callable, Mapping
from itertools import compress
from pathlib import Path
from typing import Protocol

from cim.catalog.model import KindName, Layer
from cim.features import BATCH_SIZE
from cim.loads.load import DatasetNote
from cim.loads.quarantine import resolve
from cim.messages import say
from cim.store.connection import Cursor
from cim.store.match import any_nameless
from cim.store.merge import (
    Delivery,
    Merged,
    create_staging,
    described,
    drop_staging,
    merge,
    merge_observations,
    settle,
    stage_records,
    staging,
    store_bodies,
    take_turn_with_bodies,
)
from ingest.formats.contract import Incoming
from ingest.load.prepare import Rows
from ingest.load.shift import suspected_shift

PART = 10_000  # records that are merged at once, where the others of their table needn't be known
TWICE = say("duplicate-id")
CLASH = say("id-clash")


class Stage(Protocol):
    """The staging table of one layer of one table, until it is merged."""

    def take(self, rows: Rows) -> None:  # noqa: D102
        ...

    def merge(self) -> None:  # noqa: D102
        ...


class FeatureStage:
    """The staging table of a feature layer."""

    def __init__(self, cursor: Cursor, incoming: Incoming, layer: Layer) -> None:
        self._cursor, self._incoming, self._layer = cursor, incoming, layer
        self._content_by_id: dict[str, bytes] = {}
        self._bodies: list[bytes] = []  # of batches, too few yet for a statement
        self._staged = 0  # records since the last merge
        self._parts = 0  # merges so far
        self._in_parts = not incoming.declared.complete and not (layer.topology and layer.topology.rule == "coverage")
        if layer.id not in incoming.report.layers:
            incoming.report.layers.append(layer.id)
        create_staging(cursor, layer)

    def take(self, rows: Rows) -> None:
        """Copy rows into staging, the first of each id."""
        self._bodies += rows.bodies
        if len(self._bodies) >= BATCH_SIZE:
            self._store_bodies()
        keep, twice = self._first_of_each_id(rows.ids, rows.content)
        fresh = _kept(rows, keep)
        if twice:
            self._set_aside([rows.records[k] for k in twice])
        stage_records(self._cursor, self._layer, fresh)
        self._staged += len(fresh)
        if self._staged >= PART and self._in_parts:
            self._merge_part()

    def _merge_part(self) -> None:
        """Merge what is staged while other processes prepare what follows; records without ids wait for all others."""
        self._in_parts = not any_nameless(self._cursor, staging(self._layer))
        if self._in_parts:
            self._merge_staged()
            create_staging(self._cursor, self._layer)

    def _store_bodies(self) -> None:
        if self._bodies:
            take_turn_with_bodies(self._cursor)
            store_bodies(self._cursor, self._bodies)
            self._bodies = []

    def _first_of_each_id(self, ids: list[str], content: list[bytes]) -> tuple[list[bool], list[int]]:
        """Return which records are the first of their id, and where others say something else under it."""
        keep, twice = [], []
        for position, (identifier, hashed) in enumerate(zip(ids, content, strict=True)):
            first = self._content_by_id.setdefault(identifier, hashed)
            new = first is hashed
            keep.append(new)
            if not new and first == hashed:
                self._incoming.report.unchanged += 1
            elif not new:
                twice.append(position)
        return keep, twice

    def _set_aside(self, records: list[bytes]) -> None:
        for record in described(self._cursor, self._layer, records):
            self._incoming.report.refuse(
                record.id, TWICE, layer=self._layer.id, source=record.attributes, wkb=record.wkb
            )

    def merge(self) -> None:
        """Merge what is staged, and count what became of it."""
        if self._staged or not self._parts:
            self._merge_staged()
        else:
            drop_staging(self._cursor, self._layer)
        if len(self._content_by_id) >= PART:
            settle(self._cursor, self._layer)
        resolve(self._cursor, self._layer, self._incoming.load)

    def _merge_staged(self) -> None:
        self._store_bodies()
        delivery = _delivery(self._incoming, self._layer)
        incoming = self._incoming
        shift = suspected_shift(self._cursor, incoming.store, self._layer, incoming.report.crs, delivery.dataset)
        if shift:
            incoming.report.warn(shift)
        _count(incoming, self._layer, merge(self._cursor, delivery))
        self._staged, self._parts = 0, self._parts + 1


class ObservationStage:
    """The staging table of an observation layer."""

    def __init__(self, cursor: Cursor, incoming: Incoming, layer: Layer) -> None:
        self._cursor, self._incoming, self._layer = cursor, incoming, layer
        self._staged: set[str] = set()
        if layer.id not in incoming.report.layers:
            incoming.report.layers.append(layer.id)
        create_staging(cursor, layer)

    def take(self, rows: Rows) -> None:
        """Copy rows into staging, the first of each feature and moment."""
        keep = []
        for identifier in rows.ids:
            keep.append(identifier not in self._staged)
            self._staged.add(identifier)
            if not keep[-1]:
                self._incoming.report.refuse(identifier, say("second-value-same-moment"))
        stage_records(self._cursor, self._layer, _kept(rows, keep))

    def merge(self) -> None:
        """Merge what is staged, count what became of it, and name the features that nobody knows."""
        observed = self._incoming.store.catalog.layers[self._layer.observes or ""]
        rows = self._cursor.execute(
            f"""SELECT DISTINCT s.feature FROM {staging(self._layer)} s
                WHERE NOT EXISTS (SELECT FROM twin."{observed.id}" v WHERE v.id = s.feature) ORDER BY 1"""
        ).fetchall()
        if rows:
            self._incoming.report.warn(say("observed-not-there", observed=observed.id), [row[0] for row in rows])
        _count(
            self._incoming,
            self._layer,
            merge_observations(self._cursor, _delivery(self._incoming, self._layer)),
        )


STAGES: Mapping[KindName, Callable[[Cursor, Incoming, Layer], Stage]] = {
    "feature": FeatureStage,
    "observation": ObservationStage,
}


def _kept(rows: Rows, keep: list[bool]) -> list[bytes]:
    return rows.records if all(keep) else list(compress(rows.records, keep))


def _delivery(incoming: Incoming, layer: Layer) -> Delivery:
    """Note the dataset, and return what all records of the table share."""
    declared, header = incoming.declared, incoming.header
    surveyed = declared.date or header.surveyed
    dataset = declared.dataset or header.title or header.layer_hint
    licence, source = declared.licence or header.licence, Path(incoming.report.path).name
    incoming.report.datasets.append(DatasetNote(dataset, layer.id, surveyed, licence, source))
    valid_from = incoming.city.clock.begins(surveyed) if surveyed else None
    public = declared.public is not False
    return Delivery(
        layer,
        dataset,
        incoming.load,
        valid_from,
        complete=bool(declared.complete),
        public=public,
        source=incoming.report.source,
        surveyed=surveyed,
    )


def _count(incoming: Incoming, layer: Layer, outcome: Merged) -> None:
    report = incoming.report
    report.loaded += outcome.loaded
    report.updated += outcome.updated
    report.unchanged += outcome.unchanged
    report.ended += outcome.ended
    for clash in outcome.clashes:
        report.refuse(clash.id, CLASH, layer=layer.id, source=clash.attributes, wkb=clash.wkb)
    if outcome.met:
        report.warn(say("known-again-by-place"), outcome.met)
    if outcome.taken_over:
        report.warn(say("id-belonged-another-dataset"), outcome.taken_over)
