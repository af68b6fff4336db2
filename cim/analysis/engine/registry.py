"""The registry of analyses. A new one is a module and a row here, or an entry point `cim.analyses`.

A module has `Parameters` (a model), `OUTPUTS`, `needs(parameters, catalog)` and `run(parameters, inputs, progress)`;
what it computes is plain typed functions over arrays and frames, which tests call without a database.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol, cast

from pydantic import ValidationError

from cim.analysis.engine.assumptions import Assumptions
from cim.analysis.engine.parameters import Parameters
from cim.catalog.model import Catalog, Layer, Text
from cim.city import City
from cim.errors import BadRequest, NotFound

if TYPE_CHECKING:
    import geopandas as gpd

    from cim.analysis.engine.result import Output, Result

Progress = Callable[[float, str], None]  # share done, what is done now


@dataclass(frozen=True)
class Need:
    """A layer that an analysis reads."""

    layer: Layer
    where: str | None = None  # CQL2
    required: bool = True  # empty: an error that names it


@dataclass(frozen=True)
class Inputs:
    """What an analysis works on: frames by name, their columns also under the names of their roles."""

    frames: Mapping[str, "gpd.GeoDataFrame"]
    city: City
    catalog: Catalog
    assumptions: Assumptions


class Module(Protocol):
    """What a module of an analysis has."""

    Parameters: type[Parameters]
    OUTPUTS: tuple["Output", ...]

    def needs(self, parameters: Any, catalog: Catalog) -> Mapping[str, Need]:  # noqa: D102
        ...

    def run(self, parameters: Any, inputs: Inputs, progress: Progress) -> "Result":  # noqa: D102
        ...


@dataclass(frozen=True)
class Analysis:
    """A row of the registry."""

    name: str
    title: Text
    description: Text
    module: str
    color_by: str | None = None  # the column of the rows that colours their layer

    @property
    def code(self) -> Module:
        """Its module, imported when it is first used."""
        return cast("Module", import_module(self.module))


ANALYSES = (
    Analysis(
        "cell_statistics",
        Text(zh="单元统计", en="Cell statistics"),
        Text(
            zh="按网格、区划或六边形统计对象数量和指标之和，跨边界的对象只归一个单元",
            en="Counts objects and sums an indicator by grid cell, district or hexagon; an object on an edge is one's",
        ),
        "cim.analysis.grid.statistics",
        color_by="sum",
    ),
    Analysis(
        "parking_indicators",
        Text(zh="停车指标", en="Parking indicators"),
        Text(zh="各停车场的占用率、周转率和一周规律", en="Occupancy, turnover and the week of each car park"),
        "cim.analysis.parking.indicators",
        color_by="occupancy",
    ),
    Analysis(
        "incident",
        Text(zh="突发事件分析", en="Incident"),
        Text(
            zh="事发点周边的建筑、人口，消防站行车可达范围，最近的医院和避难场所",
            en="What is around a place, the drive-time area of the fire stations, the nearest hospital and shelter",
        ),
        "cim.analysis.emergency.incident",
        color_by="kind",
    ),
)


@cache
def analyses() -> Mapping[str, Analysis]:
    """Return all analyses by name: ours, and those of other packages."""
    rows = [*ANALYSES, *(point.load() for point in entry_points(group="cim.analyses"))]
    return {row.name: row for row in rows}


def check_parameters(name: str, raw: Mapping[str, Any]) -> Parameters:
    """Return the parameters of an analysis, checked.

    Raises:
        NotFound: there is no such analysis.
        BadRequest: a parameter is missing, unknown, or can't be read.

    """
    model = analysis(name).code.Parameters
    try:
        return model.model_validate(dict(raw))
    except ValidationError as fault:
        said = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'parameters'}: {e['msg'].removeprefix('Value error, ')}"
            for e in fault.errors()
        )
        known = ", ".join(field.alias or key for key, field in model.model_fields.items())
        raise BadRequest(f"{name}: {said} (parameters: {known})") from fault


def analysis(name: str) -> Analysis:
    """Return an analysis by name.

    Raises:
        NotFound: there is none of that name.

    """
    known = analyses()
    if name not in known:
        raise NotFound(f"no analysis {name!r}; there are {', '.join(known)}")
    return known[name]
