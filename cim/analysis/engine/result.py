"""What every analysis gives back: rows, a raster or bodies, figures of the whole, and checks of the answer."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from cim.analysis.engine.inputs import LayerBodies, RasterWindow
from cim.analysis.engine.unknown import Unknown
from cim.catalog.row import Text
from cim.geometry.body_batch import select
from cim.geometry.body_shapes import multipolygons
from cim.geometry.stored_form import encode

UNKNOWN = "unknown"  # the column, and the member of the whole, that says why a value is null


@dataclass(frozen=True)
class Check:
    """What an analysis verified of its own answer, by an independent way or bound; passed None: it couldn't be told."""

    passed: bool | None
    statement: Text
    quantities: Mapping[str, float | None] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the check as JSON."""
        return {"passed": self.passed, "what": self.statement.en, "what_zh": self.statement.zh, **self.quantities}


def all_of(checks: Sequence[Check]) -> Check:
    """Return several checks as one: it fails where one fails, and can't be told where none can."""
    passed = [check.passed for check in checks if check.passed is not None]
    statement = Text(zh="；".join(c.statement.zh for c in checks), en="; ".join(c.statement.en for c in checks))
    values = {name: value for check in checks for name, value in check.quantities.items()}
    return Check(all(passed) if passed else None, statement, values)


@dataclass(frozen=True)
class Result:
    """What an analysis computed. A value of a figure may be an `Unknown`; of a row, through `rows_of`."""

    gdf: gpd.GeoDataFrame  # in the city's CRS; of a raster its outline, of bodies their footprints
    check: Check
    figures: Mapping[str, Any] = field(default_factory=dict)
    raster: RasterWindow | None = None
    bodies: LayerBodies | None = None  # of rows, by their ids
    notes: tuple[Text, ...] = ()  # what was repaired, left out or assumed, for a person
    drawn_by: str | None = None  # the column that colours the rows, where that isn't the declared one


def rows_of(records: Iterable[Mapping[str, Any]], columns: Sequence[str], crs: Any) -> gpd.GeoDataFrame:
    """Return records as rows in the order of columns; an `Unknown` is null, and its reason stands in `unknown`.

    Args:
        records: by column, and `geometry`.
        columns: names, without `geometry`.
        crs: of the geometries.

    """
    rows = [_with_reasons(record) for record in records]
    gdf = gpd.GeoDataFrame(pd.DataFrame(rows, columns=[*columns, UNKNOWN, "geometry"]), geometry="geometry", crs=crs)
    return gdf if gdf[UNKNOWN].notna().any() else gdf.drop(columns=UNKNOWN)


def _with_reasons(record: Mapping[str, Any]) -> dict[str, Any]:
    reasons = {name: value.reason.model_dump() for name, value in record.items() if isinstance(value, Unknown)}
    return {
        **record,
        **dict.fromkeys(reasons),
        UNKNOWN: json.dumps(reasons, ensure_ascii=False) if reasons else None,
    }


@dataclass(frozen=True)
class Computed:
    """A result with what it was computed from; what is kept, and travels to files, notebooks and the viewer."""

    analysis: str
    gdf: gpd.GeoDataFrame
    figures: Mapping[str, Any]
    check: Check
    computed_from: Mapping[str, Any]
    raster: RasterWindow | None = None
    bodies: LayerBodies | None = None
    notes: tuple[Text, ...] = ()
    drawn_by: str | None = None

    @property
    def shaped(self) -> gpd.GeoDataFrame:
        """The rows as they go out: those that a body is of have its faces as their geometry (MultiPolygon Z).

        Metres, east and north in the city's CRS, heights in its vertical datum.
        """
        return with_bodies(self.gdf, self.bodies) if self.bodies else self.gdf

    @property
    def summary(self) -> dict[str, Any]:
        """Figures, check, notes and origin as JSON has them; a figure that can't be told is null, with its reason."""
        unknown = {n: v.reason.model_dump() for n, v in self.figures.items() if isinstance(v, Unknown)}
        figures = {name: None if name in unknown else plain(value) for name, value in self.figures.items()}
        return {
            **figures,
            **({UNKNOWN: unknown} if unknown else {}),
            **({"notes": [note.model_dump() for note in self.notes]} if self.notes else {}),
            **({"drawn_by": self.drawn_by} if self.drawn_by else {}),
            **({"raster": _described(self.raster)} if self.raster else {}),
            **({"bodies": _described_bodies(self.bodies)} if self.bodies else {}),
            "check": self.check.as_json(),
            "computed_from": plain(self.computed_from),
        }

    def as_json(self, crs: int | None = 4326) -> dict[str, Any]:
        """Return a GeoJSON FeatureCollection whose other members are figures, check and origin."""
        rows = self.shaped
        ids = [str(i) for i in rows["id"]] if "id" in rows else [str(n) for n in range(len(rows))]
        features = features_of(rows, ids, crs)
        return {"type": "FeatureCollection", "features": features, **self.summary}

    def dumps(self) -> str:
        """Return the JSON text."""
        return json.dumps(self.as_json(), ensure_ascii=False)


def with_bodies(rows: gpd.GeoDataFrame, bodies: LayerBodies) -> gpd.GeoDataFrame:
    """Return rows whose geometry is their body's faces; those without a body of their id keep what they have."""
    if "id" not in rows or "geometry" not in rows:
        return rows
    body_of_id = {str(identifier): n for n, identifier in enumerate(bodies.ids)}
    position = np.array([body_of_id.get(str(identifier), -1) for identifier in rows["id"]], np.int64)
    has_body = position >= 0
    shapes = rows.geometry.to_numpy().copy()
    shapes[has_body] = multipolygons(select(bodies.bodies, position[has_body]))
    return rows.set_geometry(gpd.GeoSeries(shapes, index=rows.index, crs=rows.crs))


def features_of(rows: gpd.GeoDataFrame, ids: Sequence[str], crs: int | None = 4326) -> list[dict[str, Any]]:
    """Return rows as features of GeoJSON, in their order.

    Args:
        rows: geometries in any CRS, or none.
        ids: (n,) of the features.
        crs: of the coordinates; None: that of the rows.

    """
    has_place = "geometry" in rows and len(rows) > 0
    placed = rows.to_crs(crs) if crs and has_place and rows.crs is not None else rows
    shapes = placed.geometry.to_list() if "geometry" in placed else [None] * len(placed)
    properties = placed.drop(columns="geometry", errors="ignore").to_dict("records")
    return [
        {
            "type": "Feature",
            "id": identifier,
            "geometry": None if shape is None or shape.is_empty else _rounded(shape.__geo_interface__),
            "properties": {key: _property(key, value) for key, value in row.items()},
        }
        for identifier, shape, row in zip(ids, shapes, properties, strict=True)
    ]


def _property(name: str, value: Any) -> Any:
    return json.loads(value) if name == UNKNOWN and isinstance(value, str) else plain(value)


def _described(raster: RasterWindow) -> dict[str, Any]:
    """Return what a raster is: its grid, the range of its values, and the hash of both."""
    rows, columns = raster.cells.shape
    valid_cells = raster.cells[~raster.void]
    digest = hashlib.sha256(np.ascontiguousarray(raster.cells, "<f8").tobytes()).hexdigest()
    return {
        "rows": rows,
        "columns": columns,
        "crs": f"EPSG:{raster.crs.to_epsg()}",
        "transform": list(raster.transform)[:6],
        "min": float(valid_cells.min()) if valid_cells.size else None,
        "max": float(valid_cells.max()) if valid_cells.size else None,
        "void": int(raster.void.sum()),
        "sha256": digest,
    }


def _described_bodies(solids: LayerBodies) -> dict[str, Any]:
    """Return what bodies are: how many, of how many faces, and the hash of both."""
    blobs = encode(solids.bodies)
    names = [str(i).encode() for i in solids.ids]
    digest = hashlib.sha256(b"".join(part for pair in zip(names, blobs, strict=True) for part in pair)).hexdigest()
    return {"count": len(blobs), "faces": len(solids.bodies.face_class), "sha256": digest}


def plain(value: Any) -> Any:
    """Return a value as JSON has it; NaN is null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, datetime | pd.Timestamp):
        return None if pd.isna(value) else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
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
