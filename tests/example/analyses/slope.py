"""`slope`: the slope of the ground as a raster, by central differences (Horn 1981 without its corners)."""

import numpy as np
import shapely

from cim.analysis.engine import parameters
from cim.analysis.engine.declaration import Declaration, Legend, Output, Progress
from cim.analysis.engine.inputs import Inputs, MetricBox, RasterWindow, with_role
from cim.analysis.engine.parameters import titled
from cim.analysis.engine.result import Check, Result, rows_of
from cim.analysis.engine.unknown import absent
from cim.catalog.row import Text


class Parameters(parameters.Parameters):
    """The middle of the square, in the city's CRS, and its side."""

    east: float = titled("东坐标", "East", unit="m")
    north: float = titled("北坐标", "North", unit="m")
    side_m: float = titled("边长", "Side", unit="m", default=1000.0, gt=0, le=20_000)


FIGURES = (Output("steepest_deg", Text(zh="最大坡度", en="Steepest"), "deg", headline=True),)
COLUMNS = (Output("id", Text(zh="范围", en="Area")),)


def run(asked: Parameters, inputs: Inputs, progress: Progress) -> Result:
    """Return a raster of degrees."""
    half = asked.side_m / 2
    box = MetricBox(asked.east - half, asked.north - half, asked.east + half, asked.north + half)
    ground = inputs.terrain(box)
    progress(0.5, "slope")
    outline = shapely.box(box.xmin, box.ymin, box.xmax, box.ymax)
    rows = rows_of([{"id": "area", "geometry": outline}], ["id"], f"EPSG:{inputs.city.srid}")
    what = Text(zh="坡度在 0° 与 90° 之间", en="slopes lie between 0° and 90°")
    if ground is None or min(ground.cells.shape) < 2:
        return Result(rows, Check(None, what), {"steepest_deg": absent(with_role(inputs, "ground"))})
    down, right = np.gradient(ground.cells, ground.cell_m)
    degrees = np.degrees(np.arctan(np.hypot(down, right)))
    steepest = float(np.nanmax(degrees))
    raster = RasterWindow(degrees, ground.transform, ground.crs)
    return Result(rows, Check(0.0 <= steepest < 90.0, what), {"steepest_deg": steepest}, raster=raster)


ANALYSIS = Declaration(
    parameters=Parameters,
    columns=COLUMNS,
    figures=FIGURES,
    legend=Legend(None, method="equal"),
    example={"east": 463_000.0, "north": 4_192_000.0},
    run=run,
)
