"""What an analysis declares of itself, from which everything that asks it or shows its result derives.

Form, command, process, notebook call, drawing, legend, plots and docs read these values; none of them knows an
analysis by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from cim.analysis.engine.parameters import Parameters
from cim.catalog.row import Text

if TYPE_CHECKING:
    from cim.analysis.engine.inputs import Inputs
    from cim.analysis.engine.result import Result

Progress = Callable[[float, str], None]  # share done, what is done now

# classes of like number from light to dark, after ColorBrewer's advice for sequential data
RAMPS: Mapping[str, tuple[str, ...]] = {
    "warm": ("#fde8c8", "#fbbf7a", "#f28f3b", "#c8553d", "#7f2a2a"),
    "cool": ("#e3eef5", "#a9cfe4", "#5ba3cf", "#2672a8", "#0d3f70"),
    "green": ("#e7f3e3", "#b5dcab", "#70b96a", "#31873b", "#0b4d1d"),
}
VALUE_COLORS = ("#c8553d", "#2a7fb8", "#6a4fb3", "#2e7d32", "#c2185b", "#8d6e3f")
UNKNOWN_COLOR = "#b9b9b2"


@dataclass(frozen=True)
class Output:
    """A column of the rows, or a figure of the whole: its title, unit (UCUM), and the definition it goes by."""

    name: str
    title: Text
    unit: str | None = None
    definition: Text | None = None
    values: Mapping[str, Text] = field(default_factory=dict)  # titles of the values that it can take
    parts: tuple["Output", ...] = ()  # of a figure that is an object
    shown: bool = True  # whether a person sees it beside the map; files have it anyway
    headline: bool = False  # the figure that answers the question


@dataclass(frozen=True)
class Legend:
    """How a result is coloured: by a column of its rows, or by the cells of its raster (column None)."""

    column: str | None
    method: Literal["quantiles", "equal", "values"] = "quantiles"
    ramp: str = "warm"
    classes: int = 5


@dataclass(frozen=True)
class Plot:
    """A column whose cells are lists, drawn as a line a row."""

    column: str
    title: Text
    ticks: tuple[tuple[int, Text], ...] = ()  # position in the list, what stands there


@dataclass(frozen=True)
class Declaration:
    """An analysis: what it asks, what it answers, how that is drawn, and the function that computes it."""

    parameters: type[Parameters]
    columns: tuple[Output, ...]
    run: Callable[[Any, "Inputs", Progress], "Result"]
    example: Mapping[str, Any]  # parameters that have an answer in the sample city: for the docs, and for the tests
    figures: tuple[Output, ...] = ()
    legend: Legend | None = None
    plots: tuple[Plot, ...] = ()

    @property
    def outputs(self) -> Mapping[str, Output]:
        """Columns and figures by name."""
        return {output.name: output for output in (*self.columns, *self.figures)}
