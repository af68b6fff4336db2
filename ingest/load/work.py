"""From batches to rows: all of a load that needs no database, in this process, or in many for a big file."""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np

from cim.catalog.model import KindName, Layer
from cim.concurrency.process_pool import in_order, process_pool
from cim.errors import UnknownLayer
from cim.features import Features, Source, take
from cim.messages import say
from ingest.delivery.report import FileReport
from ingest.formats.city_models.images import with_stored_images
from ingest.formats.contract import Incoming
from ingest.load.observations import prepare_observations
from ingest.load.place import Placement, place, placement
from ingest.load.prepare import Rows, prepare

PREPARED: Mapping[KindName, Callable[[Features, Incoming], Rows]] = {
    "feature": prepare,
    "observation": prepare_observations,
}

FEW_PARTS, FEW_BATCHES = 4, 8  # of a table, for which other processes aren't worth their start


@dataclass
class Prepared:
    """A batch as rows of its layers, and what is to be reported of it."""

    report: FileReport
    rows: list[tuple[Layer, Rows]] = field(default_factory=list)


@dataclass(frozen=True)
class Preparing:
    """A table whose batches become rows, here or in another process."""

    incoming: Incoming
    placement: Placement | None  # None: its records have no places

    def __call__(self, batch: Features, first: int | None = None) -> Prepared:
        """Make rows of a batch; what can't stand is refused in the report.

        Args:
            batch: of the table.
            first: the number of its first record in the table; None: not known, as the table is read in parts.

        Raises:
            UnknownLayer: nothing tells the layer of a record.
            WrongCity: the data would land far from the city.
            UnknownVerticalDatum: there are heights, and nothing tells their datum.
            NothingToLoad: footprints have heights, and nothing says where they stand.

        """
        incoming = self.incoming
        prepared = Prepared(FileReport(incoming.report.path))
        report = prepared.report
        report.read = len(batch) + len(batch.refused)
        for refusal in batch.refused:
            report.refuse(refusal.id, refusal.reason, layer=_likely_layer(incoming), source=refusal.source)
        if first is not None and batch.places is None:
            batch = replace(batch, places=[str(first + n) for n in range(len(batch))])
        if incoming.header.images:
            batch = with_stored_images(batch, incoming.header.images, incoming.settings)
        for warning, ids in batch.warnings.items():
            report.warn(warning, ids)
        placed = place(batch, self.placement, report) if self.placement else batch
        for layer, features in _by_layer(incoming, placed):
            rows = PREPARED[layer.kind](features, incoming.going_into(layer, report))
            prepared.rows.append((layer, rows))
        return prepared


def _likely_layer(incoming: Incoming) -> str | None:
    """Return the layer that the table's records go to, where one is said for all of them."""
    if incoming.declared.layer:
        return incoming.declared.layer
    named = _named(incoming)
    return named.id if named else None


def _named(incoming: Incoming) -> Layer | None:
    """Return the layer that the name of the table says, else that of the file."""
    return incoming.catalog.named_by((incoming.header.layer_hint, Path(incoming.report.path).stem))


def _by_layer(incoming: Incoming, features: Features) -> Iterable[tuple[Layer, Features]]:
    """Split a batch by the layer of its records."""
    of_class = {name: _layer_of(incoming, name) for name in dict.fromkeys(features.object_class)}
    ids = np.array([of_class[name].id for name in features.object_class], object)
    for name in dict.fromkeys(ids):
        yield incoming.catalog.layers[name], take(features, ids == name)


def _layer_of(incoming: Incoming, object_class: str | None) -> Layer:
    """Find the layer of a record: the setting `layer`, else its object class, else the name of the table."""
    catalog = incoming.catalog
    if incoming.declared.layer:
        return _of_records(incoming, incoming.declared.layer)
    if object_class:
        layer = incoming.options.layer_of(object_class) or catalog.with_role("rest")
        if layer:
            return layer
    layer = _named(incoming)
    if layer is None:
        raise UnknownLayer(say("nothing-tells-layer", file=incoming.where, layers=", ".join(catalog.layers)))
    return layer


def _of_records(incoming: Incoming, name: str) -> Layer:
    layer = incoming.catalog.layers.get(name)
    if layer is None or layer.kind not in PREPARED:
        raise UnknownLayer(say("not-layer-records", file=incoming.where, name=name))
    return layer


Task = Callable[[Preparing], Iterator[Prepared]]


def prepared(incoming: Incoming, source: Source, workers: int) -> Iterator[Prepared]:
    """Yield the batches of a table as rows, in its order; a big table goes through processes.

    They need a second to start; until the first of them stands, this process makes the rows itself. A source that
    comes in parts is read by the processes too; the batches of others are read here and given out, which pays where
    there are more cores than this process and the database keep busy.

    Raises:
        UnknownCrs: its records have places, and nothing tells their CRS.

    """
    preparing = Preparing(incoming.apart(), placement(incoming) if incoming.header.spatial else None)
    tasks: Iterator[Task] = map(_Part, source.parts) if source.parts else _batch_tasks(source.batches)
    few, least_workers = (FEW_PARTS, 2) if source.parts else (FEW_BATCHES, 3)
    beginning = list(islice(tasks, few)) if workers >= least_workers else []
    tasks = chain(beginning, tasks)
    if len(beginning) < few:
        for task in tasks:
            yield from task(preparing)
        return
    with process_pool(workers, __name__, _begin, (preparing,)) as pool:
        while not pool.standing.done() and (next_task := next(tasks, None)):
            yield from next_task(preparing)
        for of_task in in_order(pool.executor, _run, tasks, ahead=2 * workers):
            yield from of_task


@dataclass(frozen=True)
class _Part:
    """A part of a table that is still to be read."""

    read: Callable[[], Iterator[Features]]

    def __call__(self, preparing: Preparing) -> Iterator[Prepared]:
        return map(preparing, self.read())


@dataclass(frozen=True)
class _Batch:
    """A batch of a table, and the number of its first record."""

    features: Features
    first: int

    def __call__(self, preparing: Preparing) -> Iterator[Prepared]:
        yield preparing(self.features, self.first)


def _batch_tasks(batches: Iterable[Features]) -> Iterator[_Batch]:
    first = 1
    for batch in batches:
        yield _Batch(batch, first)
        first += len(batch) + len(batch.refused)


def _begin(preparing: Preparing) -> None:
    global _PREPARING  # noqa: PLW0603 - a process of the pool has one, from its beginning to its end
    _PREPARING = preparing
    gc.disable()  # parsed features hold no cycles, and looking for them takes time


_PREPARING: Preparing | None = None


def _run(task: Task) -> list[Prepared]:
    assert _PREPARING is not None  # noqa: S101 - the pool began with it
    return list(task(_PREPARING))
