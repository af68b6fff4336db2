"""Assumptions: values with a source, by id; an analysis names those it used in its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from cim.errors import BadCatalog


class Assumption(BaseModel):
    """A value that an analysis takes from somewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    value: float
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
    """Read ours, and those of the city's catalog folder, which replace them.

    Raises:
        BadCatalog: the city's file breaks the model.

    """
    texts = [files("cim.analysis.engine").joinpath("assumptions.yaml").read_text("utf-8")]
    own = city_folder / "assumptions.yaml" if city_folder else None
    if own and own.is_file():
        texts.append(own.read_text("utf-8"))
    try:
        rows = [row for text in texts for row in TypeAdapter(list[Assumption]).validate_python(yaml.safe_load(text))]
    except (yaml.YAMLError, ValidationError) as fault:
        raise BadCatalog(f"assumptions.yaml: {fault}") from fault
    return Assumptions({row.id: row for row in rows})
