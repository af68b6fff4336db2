"""The registry of analyses. A new one is a module and a row here, or an entry point `cim.analyses`.

A module has `ANALYSIS`, a `Declaration`: parameters, columns, figures, legend, and the function that computes them.
What it computes with is plain typed functions over arrays and frames, which tests call without a database.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from pydantic import ValidationError

from cim.analysis.engine.declaration import Declaration
from cim.analysis.engine.parameters import Parameters
from cim.catalog.row import Text
from cim.errors import BadRequest, NotFound
from cim.messages import say


@dataclass(frozen=True)
class Analysis:
    """A row of the registry."""

    name: str
    title: Text
    description: Text
    module: str

    @property
    def declaration(self) -> Declaration:
        """What its module declares; imported when it is first asked for."""
        return cast("Declaration", import_module(self.module).ANALYSIS)


ANALYSES = (
    Analysis(
        "cell_statistics",
        Text(zh="单元统计", en="Cell statistics"),
        Text(
            zh="按网格、区划或六边形统计对象数量和指标之和，跨边界的对象只归一个单元",
            en="Counts objects and sums an indicator by grid cell, district or hexagon; an object on an edge is one's",
        ),
        "cim.analysis.grid.statistics",
    ),
    Analysis(
        "parking_indicators",
        Text(zh="停车指标", en="Parking indicators"),
        Text(zh="各停车场的占用率、周转率和一周规律", en="Occupancy, turnover and the week of each car park"),
        "cim.analysis.parking.indicators",
    ),
    Analysis(
        "incident",
        Text(zh="突发事件分析", en="Incident"),
        Text(
            zh="事发点周边的建筑、人口，消防站行车可达范围，最近的医院和避难场所",
            en="What is around a place, the drive-time area of the fire stations, the nearest hospital and shelter",
        ),
        "cim.analysis.emergency.incident",
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
    model = analysis(name).declaration.parameters
    try:
        return model.model_validate(dict(raw))
    except ValidationError as fault:
        reasons = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'parameters'}: {e['msg'].removeprefix('Value error, ')}"
            for e in fault.errors()
        )
        names = ", ".join(field.alias or key for key, field in model.model_fields.items())
        raise BadRequest(say("parameters", name=name, reasons=reasons, names=names)) from fault


def analysis(name: str) -> Analysis:
    """Return an analysis by name.

    Raises:
        NotFound: there is none of that name.

    """
    rows = analyses()
    if name not in rows:
        raise NotFound(say("no-analysis", name=name, rows=", ".join(rows)))
    return rows[name]
