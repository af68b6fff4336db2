"""`hydrant_distance`: how far each building is from the nearest hydrant, in a straight line."""

from typing import Any

import numpy as np
import shapely

from cim.analysis.engine import parameters
from cim.analysis.engine.declaration import Declaration, Legend, Output, Progress
from cim.analysis.engine.inputs import Inputs, with_role
from cim.analysis.engine.parameters import titled
from cim.analysis.engine.result import Check, Result, rows_of
from cim.analysis.engine.unknown import absent
from cim.catalog.row import Text


class Parameters(parameters.Parameters):
    """Which buildings, and how far is too far."""

    where: str | None = titled("条件", "Filter", default=None, description="CQL2: only these buildings")
    limit_m: float = titled("限距", "Limit", unit="m", default=120.0, gt=0)


COLUMNS = (
    Output("id", Text(zh="建筑", en="Building")),
    Output("distance_m", Text(zh="距离", en="Distance"), "m"),
)
FIGURES = (Output("beyond", Text(zh="超出限距", en="Beyond the limit"), "1", headline=True),)


def run(asked: Parameters, inputs: Inputs, progress: Progress) -> Result:
    """Return a row a building."""
    buildings, hydrants = with_role(inputs, "buildings"), with_role(inputs, "hydrants")
    homes = inputs.frame(buildings, columns=(), where=asked.where)
    points = inputs.frame(hydrants, columns=())
    progress(0.5, "distances")
    tree = shapely.STRtree(points.geometry.to_numpy())
    distance = np.full(len(homes), np.nan)
    if len(points) and len(homes):
        (one, _), away = tree.query_nearest(homes.geometry.to_numpy(), return_distance=True, all_matches=False)
        distance[one] = away
    records: list[dict[str, Any]] = [
        {"id": i, "distance_m": absent(hydrants) if np.isnan(d) else float(d), "geometry": g}
        for i, d, g in zip(homes["id"], distance, homes.geometry, strict=True)
    ]
    beyond = absent(hydrants if len(homes) else buildings) if not records or not len(points) else None
    figures = {"beyond": beyond or int((distance > asked.limit_m).sum())}
    in_range = bool((distance[~np.isnan(distance)] >= 0).all()) if len(points) else None
    check = Check(in_range, Text(zh="距离不为负", en="no distance is negative"))
    return Result(rows_of(records, [c.name for c in COLUMNS], homes.crs), check, figures)


ANALYSIS = Declaration(
    parameters=Parameters,
    columns=COLUMNS,
    figures=FIGURES,
    legend=Legend("distance_m"),
    run=run,
    example={"limit_m": 100},
)
