"""Assumptions: values with a source, by id, one table for loading and for analyses; a result names those it used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cim.errors import BadCatalog
from cim.messages import say

ASSUMPTIONS_FILE = "assumptions.yaml"  # beside the catalog's files; no layers stand in it
STOREY_HEIGHT = "storey_height"  # metres; loading and analyses go by the same


class Assumption(BaseModel):
    """A value that an analysis takes from somewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    value: float = Field(gt=0, allow_inf_nan=False)
    unit: str
    source: str


@dataclass(frozen=True)
class Assumptions:
    """The assumptions of a city."""

    rows: Mapping[str, Assumption]
    used: set[str] = field(default_factory=set)  # ids of those that were asked for

    def __getitem__(self, name: str) -> float:
        self.used.add(name)
        return self.rows[name].value

    def get(self, name: str, kind: str | None) -> float:
        """Return the value for a kind (`drive_speed.local`), else the general one."""
        specific = f"{name}.{kind}"
        return self[specific if specific in self.rows else name]

    def sources(self) -> list[dict[str, str | float]]:
        """Return the assumptions that were asked for, with their sources."""
        return [self.rows[name].model_dump() for name in sorted(self.used)]


def read_assumptions(city_folder: Path | None = None) -> Assumptions:
    """Read ours, and those of the city's catalog folder, which replace them by id.

    Args:
        city_folder: the city file's `catalog`; its `assumptions.yaml` is read where there is one.

    Raises:
        BadCatalog: the city's file breaks the model.

    """
    return Assumptions(_rows(city_folder))


@lru_cache(maxsize=8)
def _rows(city_folder: Path | None) -> Mapping[str, Assumption]:
    ours = files("cim.catalog").joinpath(ASSUMPTIONS_FILE)
    of_city = city_folder / ASSUMPTIONS_FILE if city_folder else None
    rows = _read_rows(ours)
    return rows | _read_rows(of_city) if of_city and of_city.is_file() else rows


def _read_rows(file: Traversable) -> dict[str, Assumption]:
    try:
        rows = TypeAdapter(list[Assumption]).validate_python(yaml.safe_load(file.read_text("utf-8")) or [])
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError, OSError) as fault:
        raise BadCatalog(say("assumptions-cannot-be-used", file=file, reason=fault)) from fault
    return {row.id: row for row in rows}
