"""What a notebook imports: a server's layers as GeoDataFrames, its series, its analyses.

Rows come as one Arrow stream, not page after page of GeoJSON.
"""

import gc
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Self

import geopandas as gpd
import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.crs import CompoundCRS

from cim.city import Extent
from cim.errors import BadRequest, CimError, NotFound, ServerFault, TooLarge
from cim.messages import say

if TYPE_CHECKING:
    from cim.geometry.body_batch import Bodies

DEFAULT_URL = "http://localhost:8000"
_FIRST_LOOK_S, _LAST_LOOK_S = 0.02, 0.5
_TIMEOUT_S = httpx.Timeout(30.0, read=600.0)


def connect(url: str | None = None, key: str | None = None) -> "Twin":
    """Return the twin that a server answers for; see `cim.connect`."""
    address = (url or os.environ.get("CIM_URL") or DEFAULT_URL).rstrip("/")
    secret = key or os.environ.get("CIM_KEY")
    headers = {"X-API-Key": secret} if secret else {}
    twin = Twin(address, httpx.Client(base_url=address, headers=headers, timeout=_TIMEOUT_S))
    try:
        twin.city  # noqa: B018 - says at once if nobody answers there
    except CimError:
        twin.close()
        raise
    return twin


@dataclass(frozen=True)
class Twin:
    """A city's twin behind a URL."""

    url: str
    http: httpx.Client

    def __repr__(self) -> str:
        return f"<Twin of {self.city['name']} at {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the server."""
        self.http.close()

    @property
    def city(self) -> dict[str, Any]:
        """The city: name, srid, vertical_datum, timezone."""
        city: dict[str, Any] = self._json("/data/city.json")
        return city

    def layers(self, language: str = "en") -> pd.DataFrame:
        """Return a row a layer: id, title, kind, geometry, how many objects it holds now, its fields."""
        rows = self._json("/data/layers.json")
        for row in rows:
            row["title"] = row["title"][language]
        return pd.DataFrame(rows).set_index("id")

    def read(
        self,
        layer: str,
        *,
        bbox: Extent | None = None,
        where: str | None = None,
        at: datetime | date | str | None = None,
        crs: str | None = None,
        columns: Sequence[str] = (),
        limit: int = 0,
    ) -> gpd.GeoDataFrame:
        """Return what a layer holds, a row an object, in no order.

        Args:
            layer: its id.
            bbox: west, south, east, north in degrees.
            where: a filter in CQL2, such as `use = 'residential' AND storeys > 6`.
            at: moment of city time; None: now (of observations: all).
            crs: of the result, EPSG:N; None: the city's, with its vertical datum where the layer has heights.
            columns: only these fields.
            limit: at most so many rows; 0: all.

        Raises:
            NotFound: there is no such layer.
            BadRequest: filter, field, box or CRS can't be read.

        """
        asked: dict[str, str] = {"columns": ",".join(columns)} if columns else {}
        for name, value in (("bbox", bbox and ",".join(map(str, bbox))), ("filter", where), ("crs", crs)):
            if value:
                asked[name] = str(value)
        if at is not None:
            asked["at"] = at if isinstance(at, str) else at.isoformat()
        if limit:
            asked["limit"] = str(limit)
        try:
            with self.http.stream("GET", f"/data/{layer}.arrow", params=asked) as answer:
                _checked(answer)
                with _uncollected():
                    return _frame(pa.ipc.open_stream(_Body(answer)), self.city)
        except httpx.TransportError as fault:
            raise ServerFault(say("answer-broke-off", url=self.url, reason=fault)) from fault

    def series(
        self,
        layer: str,
        feature: str,
        *,
        start: datetime | str | None = None,
        until: datetime | str | None = None,
        period: str = "raw",
    ) -> pd.DataFrame:
        """Return the values of a feature over time, indexed by moment; by period its mean, min and max.

        Args:
            layer: an observation layer.
            feature: id of the observed feature.
            start: from this moment; None: from the first.
            until: before this moment; None: to the last.
            period: raw, `15 min`, hour, day, week or month of the city's clock.

        """
        asked = {"period": period}
        for name, value in (("from", start), ("until", until)):
            if value is not None:
                asked[name] = value if isinstance(value, str) else value.isoformat()
        answer = self._json(f"/observations/{layer}/{feature}", asked)
        columns: dict[str, Any] = {"count": answer["counts"]}
        for name, values in answer["values"].items():
            if period == "raw":
                columns[name] = values["mean"]
            else:
                columns |= {f"{name}_{measure}": values[measure] for measure in ("mean", "min", "max")}
        times = pd.DatetimeIndex(pd.to_datetime(answer["times"], utc=True), name="time")
        return pd.DataFrame(columns, index=times.tz_convert(self.city["timezone"]))

    def analyses(self, language: str = "en") -> pd.DataFrame:
        """Return a row an analysis: id, title, description, the names of its inputs."""
        rows = []
        for row in self._json("/ogc/processes", {"lang": language})["processes"]:
            described = self._json(f"/ogc/processes/{row['id']}", {"lang": language})
            rows.append(
                {key: row[key] for key in ("id", "title", "description")} | {"inputs": list(described["inputs"])}
            )
        return pd.DataFrame(rows).set_index("id")

    def analyse(
        self, name: str, *, progress: Callable[[float, str], None] | None = None, **parameters: Any
    ) -> "AnalysisResult":
        """Run an analysis on the server and wait for it; an interrupt dismisses it.

        Args:
            name: its id.
            progress: told the share done and what is being done.
            parameters: its inputs; a moment may be a datetime, a geometry a shapely one in degrees.

        Raises:
            BadRequest: a parameter is missing, unknown, or can't be used.
            NotFound: there is no such analysis, or a layer that it needs is empty.

        """
        inputs = {key: _plain(value) for key, value in parameters.items() if value is not None}
        headers = {"Prefer": "respond-async"}
        started = self.http.post(f"/ogc/processes/{name}/execution", json={"inputs": inputs}, headers=headers)
        job = f"/ogc/jobs/{_checked(started).json()['jobID']}"
        pause = _FIRST_LOOK_S
        try:
            while (status := self._json(job))["status"] in ("accepted", "running"):
                if progress:
                    progress(status["progress"] / 100, status["message"])
                time.sleep(pause)
                pause = min(pause * 1.5, _LAST_LOOK_S)
        except KeyboardInterrupt:
            self.http.delete(job)
            raise
        return self._result(name, job)

    def result(self, job: str) -> "AnalysisResult":
        """Return what a job of an analysis gave, by the job's id; see `analyse`.

        Raises:
            NotFound: there is no such job, or it has no result.
            BadRequest: that is no job's id.

        """
        path = f"/ogc/jobs/{job}"
        return self._result(self._json(path)["processID"], path)

    def _result(self, name: str, job: str) -> "AnalysisResult":
        answer = self._json(f"{job}/results")
        bodies = self._bodies(job) if "bodies" in answer else None
        return _result(name, answer, self._json(f"/ogc/processes/{name}"), self.city, bodies)

    def _bodies(self, job: str) -> "ResultBodies":
        """Return a result's bodies from its rows as Arrow, which has every coordinate as it was computed."""
        from cim.geometry.body_shapes import bodies_of

        content = _checked(self.http.get(f"{job}/results.arrow")).content
        rows = gpd.GeoDataFrame.from_arrow(pa.ipc.open_file(content).read_all())
        solids = bodies_of(rows.geometry.to_numpy())
        return ResultBodies(rows["id"].astype(str).to_numpy(object)[solids.positions], solids.bodies)

    def _json(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        try:
            answer = self.http.get(path, params=parameters)
        except httpx.TransportError as fault:
            raise ServerFault(say("no-answer", url=self.url, reason=fault)) from fault
        return _checked(answer).json()


@dataclass(frozen=True)
class ResultBodies:
    """Bodies that an analysis gave: `ids` (n,) of their rows, and n bodies in the city's CRS and vertical datum."""

    ids: NDArray[np.object_]
    bodies: "Bodies"


@dataclass(frozen=True)
class AnalysisResult:
    """What an analysis gave: rows in the city's CRS, figures of the whole, its check, and what it was computed from."""

    name: str
    title: str
    gdf: gpd.GeoDataFrame
    figures: Mapping[str, Any]
    check: Mapping[str, Any]
    computed_from: Mapping[str, Any]
    unknown: Mapping[str, Any] = field(default_factory=dict)  # figure that can't be told → why
    notes: Sequence[Mapping[str, str]] = ()
    declared: Mapping[str, Any] = field(default_factory=dict)  # columns, figures, legend and plots of the analysis
    drawn_by: str | None = None
    bodies: ResultBodies | None = None  # where it gave some: its rows then have their faces, MultiPolygon Z

    def __repr__(self) -> str:
        state = {True: "passed", False: "FAILED", None: "not to be told"}[self.check["passed"]]
        return f"<{self.title}: {len(self.gdf)} rows, check {state} ({self.check['what']})>"

    @property
    def columns(self) -> Mapping[str, Any]:
        """Each column → its title, unit and definition."""
        columns: Mapping[str, Any] = self.declared.get("x-columns", {})
        return columns

    def plot(self, axes: Any = None, **options: Any) -> Any:
        """Draw the rows as a map in the colours that the analysis declares, its plots beside; return the axes."""
        import matplotlib.pyplot as plt

        plots = (
            [plot for plot in self.declared.get("x-plots", ()) if plot["column"] in self.gdf] if axes is None else []
        )
        if axes is None:
            count = 1 + len(plots)
            _, drawn = plt.subplots(1, count, figsize=(7.5 if count == 1 else 6.5 * count, 5.5), layout="constrained")
            axes, *beside = [drawn] if count == 1 else list(drawn)
        else:
            beside = []
        self._draw_map(axes, options)
        for plot, place in zip(plots, beside, strict=True):
            _draw_lists(place, self.gdf[plot["column"]], plot)
        return axes

    def _draw_map(self, axes: Any, options: Mapping[str, Any]) -> None:
        from matplotlib.colors import ListedColormap

        rows = self.gdf[~(self.gdf.geometry.isna() | self.gdf.geometry.is_empty)]
        order = rows.geometry.geom_type.str.contains("Polygon").astype(int)
        legend = self.declared.get("x-legend") or {}
        column = self.drawn_by or legend.get("column")
        column = column if column in rows and rows[column].notna().any() else None
        by_value = legend.get("method") == "values"
        colors = self.declared["x-value-colors"] if by_value else legend.get("ramp", ["#c8553d"])
        style: dict[str, Any] = {"alpha": 0.75, "legend": column is not None, "cmap": ListedColormap(list(colors))}
        if column is not None:
            style["missing_kwds"] = {"color": self.declared["x-unknown-color"]}
            style["categorical"] = by_value
        below_first = order.sort_values(ascending=False, kind="stable").index
        rows.loc[below_first].plot(ax=axes, column=column, **(style | dict(options)))
        title = self.columns.get(column or "", {}).get("title", "")
        axes.set_title(f"{self.title}{f': {title}' if title else ''}")
        axes.set_axis_off()


def _draw_lists(axes: Any, cells: Any, plot: Mapping[str, Any]) -> None:
    """Draw each row's list as a line over its positions."""
    for values in cells:
        if values is not None:
            axes.plot(range(len(values)), [float("nan") if v is None else v for v in values], color="0.6", lw=0.7)
    if plot["ticks"]:
        axes.set_xticks([at for at, _ in plot["ticks"]], [text for _, text in plot["ticks"]])
    axes.set_ylabel(plot["title"])
    axes.set_ylim(0, None)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value.__geo_interface__ if hasattr(value, "__geo_interface__") else value


def _result(
    name: str,
    answer: dict[str, Any],
    process: dict[str, Any],
    city: Mapping[str, Any],
    bodies: ResultBodies | None = None,
) -> AnalysisResult:
    features = answer.pop("features")
    for member in ("type", "bodies"):
        answer.pop(member, None)
    gdf = gpd.GeoDataFrame.from_features(features, crs=4326) if features else gpd.GeoDataFrame(geometry=[], crs=4326)
    return AnalysisResult(
        name=name,
        title=process["title"],
        gdf=gdf.to_crs(city["srid"]),
        check=answer.pop("check"),
        computed_from=answer.pop("computed_from"),
        unknown=answer.pop("unknown", {}),
        notes=answer.pop("notes", ()),
        drawn_by=answer.pop("drawn_by", None),
        figures=answer,
        declared=process["outputs"]["result"]["schema"],
        bodies=bodies,
    )


def _checked(answer: httpx.Response) -> httpx.Response:
    """Return the answer, or raise what it says as one of our errors."""
    if answer.is_success:
        return answer
    answer.read()
    try:
        problem = json.loads(answer.text)
        message = problem.get("detail") or problem.get("title") or problem.get("description") or answer.text
    except (ValueError, AttributeError):
        message = answer.text[:200]
    kinds = {404: NotFound, 400: BadRequest, 413: TooLarge}
    raise kinds.get(answer.status_code, ServerFault)(f"{answer.status_code}: {message}")


class _Body:
    """An answer's body as a file that Arrow reads from."""

    def __init__(self, answer: httpx.Response) -> None:
        self._parts = answer.iter_raw()
        self._rest = b""
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        wanted = size if size >= 0 else 1 << 62
        if len(self._rest) >= wanted:
            taken, self._rest = self._rest[:wanted], self._rest[wanted:]
            return taken
        parts, have = [self._rest], len(self._rest)
        for part in self._parts:
            parts.append(part)
            have += len(part)
            if have >= wanted:
                break
        content = b"".join(parts)
        self._rest = content[wanted:]
        return content[:wanted]

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


@contextmanager
def _uncollected() -> Iterator[None]:
    """Hold the garbage collector back while hundreds of thousands of geometries are made, none of them garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _frame(stream: pa.ipc.RecordBatchStreamReader, city: Mapping[str, Any]) -> gpd.GeoDataFrame:
    """Return the rows of a stream; a batch's geometries are read while the server makes the next."""
    batches, shapes = [], []
    has_geometry = "geometry" in stream.schema.names
    for batch in stream:
        if has_geometry:
            shapes.append(shapely.from_wkb(batch.column("geometry").to_numpy(zero_copy_only=False)))
            batch = batch.drop_columns(["geometry"])  # noqa: PLW2901 - the same rows
        batches.append(batch)
    names = [f for f in stream.schema if f.name != "geometry"]
    attributes = pa.Table.from_batches(batches, pa.schema(names)).to_pandas()
    if not has_geometry:
        return gpd.GeoDataFrame(attributes)
    geometry = np.concatenate(shapes) if shapes else np.empty(0, object)
    described = json.loads((stream.schema.metadata or {})[b"geo"])["columns"]["geometry"]
    crs = CRS.from_json_dict(described["crs"])
    vertical = str(city["vertical_datum"])
    if crs.to_epsg() == city["srid"] and vertical.startswith("EPSG:") and shapely.has_z(geometry).any():
        height = CRS.from_user_input(vertical)
        crs = CompoundCRS(f"{crs.name} + {height.name}", [crs, height])
    return gpd.GeoDataFrame(attributes, geometry=geometry, crs=crs)
