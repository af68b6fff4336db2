"""From batches to rows: all of a load that needs no database, in this process, or in many for a big file."""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np

from cim.catalog.assumptions import STOREY_HEIGHT, read_assumptions
from cim.catalog.model import Catalog, KindName, Layer
from cim.city import City
from cim.concurrency.process_pool import in_order, process_pool
from cim.config import Settings
from cim.errors import UnknownLayer
from cim.features import Features, Header, ReadOptions, Source, take
from cim.read.terrain import Ground
from ingest.delivery.declared import Declared
from ingest.delivery.report import FileReport
from ingest.formats.city_models.images import with_stored_images
from ingest.load.observations import prepare_observations
from ingest.load.place import Placement, place
from ingest.load.prepare import Preparation, Rows, prepare

PREPARED: Mapping[KindName, Callable[[Features, Preparation], Rows]] = {
    "feature": prepare,
    "observation": prepare_observations,
}

FEW_PARTS, FEW_BATCHES = 4, 8  # of a table, for which other processes aren't worth their start


@dataclass(frozen=True)
class Work:
    """What a process needs to make rows of the batches of a table."""

    catalog: Catalog
    city: City
    header: Header
    declared: Declared
    options: ReadOptions
    placement: Placement | None  # None: its records have no places
    ground: Ground
    settings: Settings
    path: str
    where: str  # the file, and the table where it has several

    def prepare(self, batch: Features, first: int | None = None) -> "Prepared":
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
        prepared = Prepared(FileReport(self.path))
        report = prepared.report
        report.read = len(batch) + len(batch.refused)
        for refusal in batch.refused:
            report.refuse(refusal.id, refusal.reason, layer=self._likely_layer(), source=refusal.source)
        if first is not None and batch.places is None:
            batch = replace(batch, places=[str(first + n) for n in range(len(batch))])
        if self.header.images:
            batch = with_stored_images(batch, self.header.images, self.settings)
        for what, ids in batch.warnings.items():
            report.warn(what, ids)
        placed = place(batch, self.placement, report) if self.placement else batch
        for layer, features in self._by_layer(placed):
            prepared.rows.append((layer, PREPARED[layer.kind](features, self._preparation(layer, report))))
        return prepared

    def _likely_layer(self) -> str | None:
        """Return the layer that the table's records go to, where one is said for all of them."""
        if self.declared.layer:
            return self.declared.layer
        named = self.catalog.named_by((self.header.layer_hint, Path(self.path).stem))
        return named.id if named else None

    def _preparation(self, layer: Layer, report: FileReport) -> Preparation:
        return Preparation(
            layer=layer,
            catalog=self.catalog,
            columns=self.declared.columns,
            id_prefix=self.declared.id_prefix or "",
            srid=self.city.srid,
            timezone=self.declared.timezone or self.city.timezone,
            ground=self.ground,
            report=report,
            storey_m=read_assumptions(self.city.catalog)[STOREY_HEIGHT],
            where=self.where,
            values=self.declared.values,
        )

    def _by_layer(self, features: Features) -> Iterable[tuple[Layer, Features]]:
        """Split a batch by the layer of its records."""
        of_class = {name: self._layer_of(name) for name in dict.fromkeys(features.object_class)}
        ids = np.array([of_class[name].id for name in features.object_class], object)
        for name in dict.fromkeys(ids):
            yield self.catalog.layers[name], take(features, ids == name)

    def _layer_of(self, object_class: str | None) -> Layer:
        """Find the layer of a record: the setting `layer`, else its object class, else the name of the table."""
        if self.declared.layer:
            return self._of_records(self.declared.layer)
        if object_class:
            layer = self.options.layer_of(object_class) or self.catalog.with_role("rest")
            if layer:
                return layer
        layer = self.catalog.named_by((self.header.layer_hint, Path(self.path).stem))
        if layer is None:
            raise UnknownLayer(f"{self.where}: nothing tells its layer: name one of {', '.join(self.catalog.layers)}")
        return layer

    def _of_records(self, name: str) -> Layer:
        layer = self.catalog.layers.get(name)
        if layer is None or layer.kind not in PREPARED:
            raise UnknownLayer(f"{self.where}: {name} isn't a layer of records")
        return layer


@dataclass
class Prepared:
    """A batch as rows of its layers, and what is to be reported of it."""

    report: FileReport
    rows: list[tuple[Layer, Rows]] = field(default_factory=list)


Task = Callable[[Work], Iterator[Prepared]]


def prepared(work: Work, source: Source, workers: int) -> Iterator[Prepared]:
    """Yield the batches of a table as rows, in its order; a big table goes through processes.

    They need a second to start; until the first of them stands, this process makes the rows itself. A source that
    comes in parts is read by the processes too; the batches of others are read here and given out, which pays where
    there are more cores than this process and the database keep busy.
    """
    tasks: Iterator[Task] = map(_Part, source.parts) if source.parts else _batch_tasks(source.batches)
    few, least_workers = (FEW_PARTS, 2) if source.parts else (FEW_BATCHES, 3)
    beginning = list(islice(tasks, few)) if workers >= least_workers else []
    tasks = chain(beginning, tasks)
    if len(beginning) < few:
        for task in tasks:
            yield from task(work)
        return
    with process_pool(workers, __name__, _begin, (work,)) as pool:
        while not pool.standing.done() and (next_task := next(tasks, None)):
            yield from next_task(work)
        for of_task in in_order(pool.executor, _run, tasks, ahead=2 * workers):
            yield from of_task


@dataclass(frozen=True)
class _Part:
    """A part of a table that is still to be read."""

    read: Callable[[], Iterator[Features]]

    def __call__(self, work: Work) -> Iterator[Prepared]:
        return map(work.prepare, self.read())


@dataclass(frozen=True)
class _Batch:
    """A batch of a table, and the number of its first record."""

    features: Features
    first: int

    def __call__(self, work: Work) -> Iterator[Prepared]:
        yield work.prepare(self.features, self.first)


def _batch_tasks(batches: Iterable[Features]) -> Iterator[_Batch]:
    first = 1
    for batch in batches:
        yield _Batch(batch, first)
        first += len(batch) + len(batch.refused)


def _begin(work: Work) -> None:
    global _WORK  # noqa: PLW0603 - a process of the pool has one, from its beginning to its end
    _WORK = work
    gc.disable()  # parsed features hold no cycles, and looking for them takes time


_WORK: Work | None = None


def _run(task: Task) -> list[Prepared]:
    assert _WORK is not None  # noqa: S101 - the pool began with it
    return list(task(_WORK))
