"""What every analysis gives back: rows with described columns, figures of the whole, and a check of itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from cim.catalog.model import Text


@dataclass(frozen=True)
class Output:
    """A column of the rows, or a figure of the whole: its title, unit (UCUM), and the definition it goes by."""

    name: str
    title: Text
    unit: str | None = None
    definition: Text | None = None


@dataclass(frozen=True)
class Check:
    """What an analysis verified of its own result: the quantities compared, and whether they agree."""

    passed: bool
    what: str
    values: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the check as JSON."""
        return {"passed": self.passed, "what": self.what, **self.values}


@dataclass(frozen=True)
class Result:
    """Rows in the city's CRS, figures of the whole, and the check."""

    gdf: gpd.GeoDataFrame
    check: Check
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Computed:
    """A result with what it was computed from; what travels to files, notebooks and the viewer."""

    analysis: str
    gdf: gpd.GeoDataFrame
    figures: Mapping[str, Any]
    check: Check
    computed_from: Mapping[str, Any]

    def as_json(self, crs: int | None = 4326) -> dict[str, Any]:
        """Return a GeoJSON FeatureCollection whose other members are figures, check and origin."""
        has_place = "geometry" in self.gdf and len(self.gdf) > 0
        placed = self.gdf.to_crs(crs) if crs and has_place else self.gdf
        shapes = placed.geometry.to_list() if "geometry" in placed else [None] * len(placed)
        properties = placed.drop(columns="geometry", errors="ignore").to_dict("records")
        features = [
            {
                "type": "Feature",
                "id": str(row.get("id", n)),
                "geometry": None if shape is None or shape.is_empty else _rounded(shape.__geo_interface__),
                "properties": {key: plain(value) for key, value in row.items()},
            }
            for n, (shape, row) in enumerate(zip(shapes, properties, strict=True))
        ]
        return {
            "type": "FeatureCollection",
            "features": features,
            **{key: plain(value) for key, value in self.figures.items()},
            "check": self.check.as_json(),
            "computed_from": plain(self.computed_from),
        }

    def dumps(self) -> str:
        """Return the JSON text."""
        return json.dumps(self.as_json(), ensure_ascii=False)


def plain(value: Any) -> Any:
    """Return a value as JSON has it; NaN is null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, datetime | pd.Timestamp):
        return None if pd.isna(value) else value.isoformat()
    if hasattr(value, "item"):
        value = value.item()
    if value is None or (isinstance(value, float) and not np.isfinite(value)) or value is pd.NA or value is pd.NaT:
        return None
    return value


def _rounded(geometry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a geometry with coordinates to 9 decimals of a degree: a tenth of a millimetre."""

    def round_all(coordinates: Any) -> Any:
        if isinstance(coordinates, float | int):
            return round(coordinates, 9)
        return [round_all(c) for c in coordinates]

    if geometry["type"] == "GeometryCollection":
        return {"type": "GeometryCollection", "geometries": [_rounded(g) for g in geometry["geometries"]]}
    return {"type": geometry["type"], "coordinates": round_all(geometry["coordinates"])}
