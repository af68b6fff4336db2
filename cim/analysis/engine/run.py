"""Running an analysis on the store: its inputs as of one moment, its result with what it was computed from."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cim.analysis.engine.declaration import Progress
from cim.analysis.engine.keep import whole
from cim.analysis.engine.parameters import Parameters
from cim.analysis.engine.registry import analysis, check_parameters
from cim.analysis.engine.result import Computed
from cim.analysis.engine.store_inputs import StoreInputs
from cim.catalog.assumptions import read_assumptions
from cim.catalog.model import Catalog
from cim.catalog.row import Text
from cim.city import City
from cim.errors import BadRequest
from cim.jobs import queue as jobs
from cim.messages import say
from cim.store.connection import Cursor, Store
from cim.version import VERSION


def analyse(
    cursor: Cursor,
    store: Store,
    name: str,
    raw: Mapping[str, Any],
    progress: Progress = lambda *_: None,
    *,
    public_only: bool = False,
) -> Computed:
    """Run an analysis.

    Args:
        cursor: in a transaction, so that all inputs are read as of one moment; what it may see is what is computed.
        store: its city and catalog.
        name: of the analysis.
        raw: parameters by name.
        progress: told the share done, between 0 and 1.
        public_only: sensitive fields are hidden from it.

    Raises:
        NotFound: no such analysis, or a layer without which it has no answer is empty.
        BadRequest: a parameter can't be used.

    """
    asked = dated(check_parameters(name, raw), store.city, datetime.now(UTC))
    assumptions = read_assumptions(store.city.catalog)
    inputs = StoreInputs(cursor, store, assumptions, asked.at, asked.recorded_at, public_only)  # type: ignore[arg-type]
    result = analysis(name).declaration.run(asked, inputs, progress)
    progress(1.0, "")
    origin = {
        "analysis": name,
        "software": f"cim {VERSION}",
        "at": inputs.at.isoformat(),
        "recorded_at": inputs.recorded_at.isoformat(),
        "parameters": json.loads(asked.model_dump_json(exclude_none=True, by_alias=True)),
        "layers": dict(sorted(inputs.asked.items())),
        "datasets": list(inputs.origin()),
        "assumptions": assumptions.sources(),
    }
    notes = (*result.notes, *_input_notes(inputs, store.catalog))
    return whole(
        Computed(
            name, result.gdf, result.figures, result.check, origin, result.raster, result.bodies, notes, result.drawn_by
        )
    )


def dated(asked: Parameters, city: City, now: datetime) -> Parameters:
    """Return parameters with all their moments said: a time without an offset is the city's, no moment is now.

    So what a result says it was asked with gives the same result again, whatever happened since.
    """
    moments = {name: city.clock.meant(value).astimezone(UTC) for name, value in asked if isinstance(value, datetime)}
    moments |= {name: now for name in ("at", "recorded_at") if name not in moments}
    return asked.model_copy(update=moments)


def recorded_run(cursor: Cursor, source: str) -> tuple[str, dict[str, Any]]:
    """Return the name and parameters with which a result was computed; run with them it comes out the same again.

    Args:
        cursor: a read.
        source: a result as a JSON file, or the id of the job that computed it.

    Raises:
        BadRequest: it is neither.
        NotFound: there is no such job.

    """
    path = Path(source)
    if path.is_file():
        try:
            document = json.loads(path.read_text("utf-8"))
        except (ValueError, UnicodeDecodeError) as fault:
            raise BadRequest(say("not-json", file=path, reason=fault)) from fault
    else:
        document = json.loads(jobs.read_result(cursor, jobs.parse_id(source))).get("summary", {})
    origin = document.get("computed_from") if isinstance(document, dict) else None
    if not isinstance(origin, dict) or not isinstance(origin.get("parameters"), dict) or "analysis" not in origin:
        raise BadRequest(say("no-result-analysis", source=source))
    return str(origin["analysis"]), dict(origin["parameters"])


def _input_notes(inputs: StoreInputs, catalog: Catalog) -> list[Text]:
    """Say which geometries were mended, and which objects left out."""
    mended = [
        Text(
            zh=f"图层“{catalog.layers[name].title.zh}”有 {count} 个无效几何，已修复后参与计算",
            en=f"{count} invalid geometries of {catalog.layers[name].title.en} were made valid",
        )
        for name, count in sorted(inputs.repaired.items())
    ]
    return mended + [
        Text(
            zh=f"图层“{catalog.layers[name].title.zh}”有 {count} 个对象没有可用的几何，未参与计算",
            en=f"{count} objects of {catalog.layers[name].title.en} have no usable geometry and were left out",
        )
        for name, count in sorted(inputs.left_out.items())
    ]
