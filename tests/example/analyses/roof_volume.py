"""`roof_volume`: the bodies around a place and the volume of each; of an open body it can't be told."""

import numpy as np
import shapely

from cim.analysis.engine import parameters
from cim.analysis.engine.declaration import Declaration, Legend, Output, Progress
from cim.analysis.engine.inputs import Inputs, MetricBox, with_role
from cim.analysis.engine.parameters import titled
from cim.analysis.engine.result import Check, Result, rows_of
from cim.analysis.engine.unknown import Unknown, absent
from cim.catalog.row import Text
from cim.geometry.measures import closed, volumes
from cim.geometry.outlines import footprints


class Parameters(parameters.Parameters):
    """The middle, in the city's CRS, and how far around it."""

    east: float = titled("东坐标", "East", unit="m")
    north: float = titled("北坐标", "North", unit="m")
    radius_m: float = titled("半径", "Radius", unit="m", default=200.0, gt=0)


COLUMNS = (
    Output("id", Text(zh="建筑", en="Building")),
    Output("volume_m3", Text(zh="体积", en="Volume"), "m3"),
)
FIGURES = (Output("volume_m3", Text(zh="总体积", en="Volume of all"), "m3", headline=True),)
OPEN = Unknown(Text(zh="实体不封闭", en="its body isn't closed"))


def run(asked: Parameters, inputs: Inputs, progress: Progress) -> Result:
    """Return the bodies, and a row each."""
    layer = with_role(inputs, "buildings")
    found = inputs.bodies(layer, MetricBox.around(shapely.Point(asked.east, asked.north), asked.radius_m))
    progress(0.5, "volumes")
    volume, whole, shapes = volumes(found.bodies), closed(found.bodies), footprints(found.bodies)
    records = [
        {"id": i, "volume_m3": float(v) if c else OPEN, "geometry": g}
        for i, v, c, g in zip(found.ids, volume, whole, shapes, strict=True)
    ]
    total = float(volume[whole].sum()) if records else absent(layer)
    check = Check(
        bool((volume[whole] > 0).all()) if np.any(whole) else None, Text(zh="体积为正", en="volumes are positive")
    )
    rows = rows_of(records, [c.name for c in COLUMNS], f"EPSG:{inputs.city.srid}")
    return Result(rows, check, {"volume_m3": total}, bodies=found)


ANALYSIS = Declaration(
    parameters=Parameters,
    columns=COLUMNS,
    figures=FIGURES,
    legend=Legend("volume_m3"),
    example={"east": 463_000.0, "north": 4_192_000.0, "radius_m": 400.0},
    run=run,
)
