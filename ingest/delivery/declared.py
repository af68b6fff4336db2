"""What a folder or a user says about files that don't say it themselves: `dataset.toml`, `--settings`, options."""

import datetime as dt
import os
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pyproj import CRS

from cim.catalog.model import Catalog
from cim.city import City
from cim.errors import BadSettings, UnknownCrs
from cim.features import Anchor, ReadOptions
from cim.messages import say
from cim.reference.crs import parse
from cim.reference.gcj02 import unshift
from cim.reference.local_system import read_parameters

DATASET_FILE = "dataset.toml"
_LONGEST_PATH = 1024  # characters; what is longer is the text of a CRS


def _said(zh: str, en: str, default: Any = None) -> Any:
    """Return a key of dataset.toml, with what it is."""
    return Field(default=default, json_schema_extra={"zh": zh, "en": en})


class Declared(BaseModel):
    """What can be said about a dataset, a file, or on the command line; None: not said here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: str | None = _said("图层", "the layer that its records go to")
    dataset: str | None = _said("数据集名称", "the name of the dataset; else the file's title or name")
    date: dt.date | None = _said("测绘日期", "the date that it shows the city at")
    crs: str | None = _said(
        "坐标系：EPSG 代码、中文名、GCJ-02、BD-09，或 WKT、PROJ、四/七参数文件",
        "EPSG code, Chinese name, GCJ-02, BD-09, or a file of WKT, PROJ text, or four or seven parameters",
    )
    axes: Literal["xy", "yx"] | None = _said("坐标顺序", "yx: northing or latitude comes first")
    vertical_datum: str | None = _said("高程基准", "`city`, `ellipsoidal`, or a CRS such as EPSG:5737")
    height_anomaly_m: float | None = _said("高程异常（米）", "of this dataset's ellipsoidal heights; else the city's")
    height_anomaly_grid: Path | None = _said("高程异常格网", "a raster of it")
    z_unit_m: float | None = _said("高程单位（米）", "metres of a unit of its heights, such as 0.3048")
    encoding: str | None = _said("文字编码", "of its texts; wins over what the file says")
    id_prefix: str | None = _said("编号前缀", "before each id, to tell datasets with the same ids apart")
    complete: bool | None = _said("完整交付", "what is stored of the dataset and isn't in it has ended")
    licence: str | None = _said("许可", "the licence of the data")
    timezone: str | None = _said("时区", "of times without an offset; else the city's")
    public: bool | None = _said("是否公开", "false: only who is signed in sees it")
    columns: Mapping[str, str] = _said("列与字段", "column of the file → field of the layer, or `id`", {})
    values: tuple[str, ...] = _said("观测值列", "columns of a table that are each a series of its own", ())
    anchor: tuple[float, float, float] | None = _said("模型原点", "a model's origin: longitude, latitude, height")
    heading: float | None = _said("模型方向", "degrees clockwise from north of a model's y")
    up: Literal["y", "z"] | None = _said("模型向上轴", "a model's axis that is up")
    unit_m: float | None = _said("模型单位（米）", "metres of a model's unit")
    layers: Mapping[str, str] = _said("图层对照", "class or drawing layer, or a pattern → layer of the city", {})

    @field_validator("anchor", mode="before")
    @classmethod
    def _three_numbers(cls, value: Any) -> Any:
        return [float(number) for number in value.split(",")] if isinstance(value, str) else value

    def over(self, other: "Declared") -> "Declared":
        """Return this, and what it leaves open from `other`."""
        return other.model_copy(update={k: v for k, v in self if v is not None and v not in ({}, ())})


class DatasetFile(Declared):
    """A `dataset.toml`: what holds for all files of its folder, and what for some (`[files."roads*.shp"]`)."""

    files: Mapping[str, Declared] = Field(default_factory=dict)


def read_dataset_file(path: Path, root: Path | None = None) -> DatasetFile:
    """Read a dataset.toml; a relative CRS file in it is relative to it.

    Args:
        path: the file.
        root: folder that no file it names may lie outside of; None: the file is the owner's own.

    Raises:
        BadSettings: it isn't TOML, or has a key or value that isn't known, or names a file that it may not.

    """
    try:
        declared: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        whole = _beside(DatasetFile.model_validate(declared), path.parent, root)
        entries = {k: _beside(entry, path.parent, root) for k, entry in whole.files.items()}
        return whole.model_copy(update={"files": entries})
    except OSError as fault:
        raise BadSettings(say("settings-file-cannot-be-read", file=path, reason=fault.strerror)) from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as fault:
        raise BadSettings(say("settings-file-cannot-be-used", file=path, reason=fault)) from fault


def _beside[D: Declared](declared: D, folder: Path, root: Path | None) -> D:
    """Return what is said with the files that it names (a CRS, a grid) found in a folder."""
    paths: dict[str, Any] = {}
    if declared.crs and _is_within(folder / declared.crs, root) and _is_file(folder / declared.crs):
        paths["crs"] = str(folder / declared.crs)
    if declared.height_anomaly_grid:
        paths["height_anomaly_grid"] = folder / declared.height_anomaly_grid
    located = declared.model_copy(update=paths)
    return located if root is None else of_others(located, root)


def of_others[D: Declared](declared: D, root: Path | None) -> D:
    """Return what others say of their data: it can't have a file read that isn't theirs.

    Args:
        declared: what they say; a CRS becomes its own text, and no text of theirs is taken for a path any more.
        root: the folder of their files; None: they name none.

    Raises:
        BadSettings: the grid that they name lies outside of their folder.
        UnknownCrs: they name none that PROJ knows.

    """
    changes: dict[str, Any] = {}
    if declared.crs and not unshift(declared.crs):
        theirs = root is not None and _is_within(Path(declared.crs), root)
        crs = declared_crs(declared) if theirs else parse(declared.crs)
        changes["crs"] = crs.to_json() if crs else None
    grid = declared.height_anomaly_grid
    if grid and (root is None or not _is_within(grid, root)):
        raise BadSettings(say("grid-height-anomaly-must-lie", grid=grid.name))
    return declared.model_copy(update=changes)


def _is_within(file: Path, root: Path | None) -> bool:
    """Whether a path leads into a folder, and not through a link out of it again; None: into any."""
    return root is None or (len(str(file)) < _LONGEST_PATH and file.resolve().is_relative_to(root.resolve()))


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - it says no of a text that is too long for a path


def heights_city(declared: Declared, city: City) -> City:
    """Return the city with the height anomaly that a dataset was made with, where one is declared.

    Raises:
        BadSettings: the grid of it isn't there.

    """
    anomaly: dict[str, Any] = {}
    if declared.height_anomaly_grid is not None:
        if not declared.height_anomaly_grid.is_file():
            raise BadSettings(say("no-such-grid-height-anomaly", height_anomaly_grid=declared.height_anomaly_grid))
        anomaly["height_anomaly_grid"] = declared.height_anomaly_grid
    elif declared.height_anomaly_m is not None:
        anomaly |= {"height_anomaly_m": declared.height_anomaly_m, "height_anomaly_grid": None}
    return city.model_copy(update=anomaly)


def declared_for(
    path: Path, beside_in: Path, options: Declared, settings: DatasetFile | None, root: Path | None = None
) -> Declared:
    """Return what is said about a file: options first, then its own entry, then what holds for its folder.

    Args:
        path: the file.
        beside_in: the folder whose dataset.toml holds for it.
        options: what whoever loads it says.
        settings: a dataset.toml that takes the place of that beside it.
        root: folder that no file which the dataset.toml names may lie outside of; None: it is the owner's own.

    """
    beside = beside_in / DATASET_FILE
    folder = settings or (read_dataset_file(beside, root) if beside.is_file() else None)
    if folder is None:
        return options
    whole = Declared(**{k: v for k, v in folder if k != "files"})
    entry = next((declared for pattern, declared in folder.files.items() if fnmatch(path.name, pattern)), Declared())
    return options.over(entry.over(whole))


def declared_crs(declared: Declared) -> CRS | None:
    """Return the CRS that options or a dataset.toml declare: a name, or a file of WKT, PROJ text or parameters."""
    if not declared.crs:
        return None
    file = Path(declared.crs)
    if file.suffix == ".toml":
        return read_parameters(file)
    if not _is_file(file):
        return parse(declared.crs)
    try:
        return parse(file.read_text("utf-8"))
    except (UnknownCrs, OSError, UnicodeDecodeError) as fault:  # what stands in the file isn't repeated: it may be any
        raise UnknownCrs(say("text-not-crs-proj-knows", file=file)) from fault


def read_options(catalog: Catalog, declared: Declared) -> ReadOptions:
    """Return what a reader is told of a file.

    Raises:
        BadSettings: `layers` names a layer that the catalog doesn't have.
        UnknownCrs: what is declared is no CRS.

    """
    if unknown := sorted(set(declared.layers.values()) - set(catalog.layers)):
        raise BadSettings(say("layers-names", unknown=", ".join(unknown), layers=", ".join(catalog.layers)))
    crs = None if declared.crs and unshift(declared.crs) else declared_crs(declared)
    anchor = declared.anchor and Anchor(
        declared.anchor, declared.heading or 0.0, declared.up or "", declared.unit_m or 1.0
    )
    return ReadOptions(catalog, declared.encoding, crs, declared.layers, anchor)
