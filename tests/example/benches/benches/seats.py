"""`bench_seats`: how many people the benches seat."""

from typing import Any

from cim.analysis.engine import parameters
from cim.analysis.engine.declaration import Declaration, Legend, Output, Progress
from cim.analysis.engine.inputs import Inputs, with_role
from cim.analysis.engine.parameters import titled
from cim.analysis.engine.registry import Analysis
from cim.analysis.engine.result import Check, Result, rows_of
from cim.analysis.engine.unknown import absent
from cim.catalog.row import Text


class Parameters(parameters.Parameters):
    """How small a bench counts."""

    least: int = titled("最少座位", "Least seats", default=1, ge=1)


COLUMNS = (
    Output("id", Text(zh="长椅", en="Bench")),
    Output("seats", Text(zh="座位数", en="Seats"), "1"),
)
FIGURES = (Output("seats_in_all", Text(zh="座位总数", en="Seats in all"), "1", headline=True),)


def run(asked: Parameters, inputs: Inputs, progress: Progress) -> Result:
    """Return a row a bench whose seats are known."""
    layer = with_role(inputs, "benches")
    benches = inputs.frame(layer, columns=("seats",))
    counted = benches[benches["seats"].notna() & (benches["seats"] >= asked.least)]
    progress(0.5, "seats")
    records: list[dict[str, Any]] = [
        {"id": i, "seats": int(seats), "geometry": place}
        for i, seats, place in zip(counted["id"], counted["seats"], counted.geometry, strict=True)
    ]
    in_range = all(record["seats"] >= asked.least for record in records) if records else None
    check = Check(in_range, Text(zh="座位数不小于下限", en="no bench has fewer seats than asked for"))
    figures = {"seats_in_all": absent(layer) if benches.empty else sum(record["seats"] for record in records)}
    return Result(rows_of(records, [column.name for column in COLUMNS], benches.crs), check, figures)


ANALYSIS = Declaration(Parameters, COLUMNS, run, example={}, figures=FIGURES, legend=Legend("seats", "equal"))
ROW = Analysis(
    "bench_seats",
    Text(zh="长椅座位", en="Seats of benches"),
    Text(zh="长椅共有多少座位", en="How many people the benches seat"),
    "benches.seats",
)
