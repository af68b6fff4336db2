"""Three analyses as the recipe makes them: one of two parameters, one that gives a raster, one that asks for bodies."""

from cim.analysis.engine.registry import Analysis
from cim.catalog.row import Text

ROWS = (
    Analysis(
        "hydrant_distance",
        Text(zh="消火栓距离", en="Distance to hydrants"),
        Text(zh="各建筑到最近消火栓的直线距离", en="How far each building is from the nearest hydrant"),
        "tests.example.analyses.hydrant_distance",
    ),
    Analysis(
        "slope",
        Text(zh="坡度", en="Slope"),
        Text(zh="地面坡度栅格", en="The slope of the ground as a raster"),
        "tests.example.analyses.slope",
    ),
    Analysis(
        "roof_volume",
        Text(zh="建筑体积", en="Volume of buildings"),
        Text(zh="一处周边各建筑实体的体积", en="The volume of the bodies around a place"),
        "tests.example.analyses.roof_volume",
    ),
)
