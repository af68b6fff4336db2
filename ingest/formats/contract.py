"""What a reader is to the rest of the program, and the one context with which a file goes through it.

A format is a row (`Reader`) and a module with one function: `read`, which gives batches of records, or `load`, where
its files are kept as they are (rasters, clouds, sets of tiles). `ingest.formats.readers` is the table of the rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Protocol

from cim.catalog.assumptions import STOREY_HEIGHT, read_assumptions
from cim.catalog.model import Catalog, KindName, Layer
from cim.city import City
from cim.config import Settings
from cim.features import Header, ReadOptions, Source
from cim.read.terrain import Ground
from cim.store.connection import Cursor, Store
from cim.store.kinds import KINDS
from ingest.delivery.declared import Declared, read_options
from ingest.delivery.report import FileReport


class Read(Protocol):
    """The signature of a reader that gives records: a header and an iterator of batches for each table of the file."""

    def __call__(self, path: Path, options: ReadOptions) -> Iterator[Source]:  # noqa: D102
        ...


class Load(Protocol):
    """The signature of a reader whose files are kept as one: it enters the file as an asset, in the load's transaction.

    What it has to say of the file it says in `incoming.report`.
    """

    def __call__(self, cursor: Cursor, incoming: "Incoming") -> None:  # noqa: D102
        ...


@dataclass(frozen=True)
class Reader:
    """A row of the table."""

    name: str
    suffixes: tuple[str, ...]  # patterns, compared without regard to case, the longest first
    module: str  # has `read` or `load`; imported when the first such file comes
    kind: KindName = "feature"  # of the layers that its files go to
    mark: bytes = b""  # stands near the beginning, where two formats share a suffix
    leads_elsewhere: bool = False  # what it names is read too: never of others' (an upload, an archive, a download)
    of_folder: bool = False  # its file speaks for all that lies in its folder and below
    only_marked: bool = False  # a file of the suffix without the mark isn't of this format
    memory_factors: Mapping[str, int] = field(default_factory=dict)  # suffix → memory, as times a file's size
    classes: str = ""  # pattern of the classes that its records may have; empty: they have none
    spelled: bool = False  # the classes of a file stand in its text as the catalog calls them

    @property
    def whole(self) -> bool:
        """Whether a file is kept as one: the module has `load` in place of `read`."""
        return not KINDS[self.kind].stored

    def read(self, path: Path, options: ReadOptions) -> Iterator[Source]:
        """Read a file of this format."""
        read: Read = import_module(self.module).read
        return read(path, options)

    def load(self, cursor: Cursor, incoming: "Incoming") -> None:
        """Load a file that is kept as one."""
        load: Load = import_module(self.module).load
        load(cursor, incoming)

    def memory_mb(self, path: Path) -> float:
        """Return how much memory a file takes that is held whole; else 0."""
        times = self.memory_factors.get(path.suffix.lower(), 0)
        return times * path.stat().st_size / 1e6


@dataclass(frozen=True)
class Incoming:
    """A file on its way into the store, or a table of it, or its records of one layer.

    It is made once for a file, where its load begins, narrowed as the file is opened (`of_table`) and its records are
    told apart (`going_into`), and goes along to the processes that make their rows (`apart`). What is edited or
    measured comes without a reader.
    """

    path: Path
    declared: Declared
    store: Store
    load: int  # its number
    report: FileReport
    reader: Reader | None = None
    ground: Ground = field(default_factory=Ground)
    root: Path | None = None  # folder that nothing it names may lie outside of; None: the owner's own
    header: Header = field(default_factory=Header)  # of the table
    table: str | None = None  # what the table is called, where the file has several
    into: Layer | None = None  # the layer of the records at hand

    def of_table(self, header: Header, table: str | None) -> "Incoming":
        """Return the context of one of its tables."""
        return replace(self, header=header, table=table)

    def going_into(self, layer: Layer, report: FileReport) -> "Incoming":
        """Return the context of its records of a layer, of which `report` is told."""
        return replace(self, into=layer, report=report)

    def apart(self) -> "Incoming":
        """Return the context for another process, with a report of its own."""
        return replace(self, report=FileReport(self.report.path))

    @property
    def layer(self) -> Layer:
        """The layer of the records at hand."""
        assert self.into is not None  # noqa: S101 - whoever asks has told them apart
        return self.into

    @property
    def where(self) -> str:
        """What messages call it: the file, and the table where it has several."""
        return str(self.path) if self.table is None else f"{self.path}, table {self.table}"

    @property
    def city(self) -> City:
        """The city that it is loaded into."""
        return self.store.city

    @property
    def catalog(self) -> Catalog:
        """The city's layers."""
        return self.store.catalog

    @property
    def settings(self) -> Settings:
        """The program's settings."""
        return self.store.settings

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns of the file → fields, as it is declared."""
        return self.declared.columns

    @property
    def values(self) -> Sequence[str]:
        """Columns of a table that are series of their own."""
        return self.declared.values

    @property
    def id_prefix(self) -> str:
        """What stands before each id."""
        return self.declared.id_prefix or ""

    @property
    def srid(self) -> int:
        """The city's CRS."""
        return self.city.srid

    @property
    def timezone(self) -> str:
        """Of times without an offset."""
        return self.declared.timezone or self.city.timezone

    @cached_property
    def storey_m(self) -> float:
        """A storey where only their number is known; such an object has the flag height_from_storeys."""
        return read_assumptions(self.city.catalog)[STOREY_HEIGHT]

    @cached_property
    def options(self) -> ReadOptions:
        """What a reader is told of it.

        Raises:
            BadSettings: `layers` names a layer that the catalog doesn't have.
            UnknownCrs: what is declared is no CRS.

        """
        return replace(read_options(self.catalog, self.declared), root=self.root)
