r"""The one place where pygeoapi's own functions are replaced, for one version, checked.

- `to_json`: the stock one turns `<` into `&lt;` and Chinese into \u escapes, parses what PostGIS already wrote, and
  announces formats and services that aren't served here.
- `transform_bbox`: the stock one builds a transformer a request (20 ms), keeps the registry's axis order, and fails on
  a box of the whole world, which QGIS sends.
- `render_j2_template`: the stock one keeps the first asker's address in every page, and makes an environment a page.
- `create_crs_transform_spec`: PostGIS transforms; only the wanted CRS has to reach the provider.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pygeoapi
import pygeoapi.api
import pygeoapi.api.itemtypes
from pygeoapi.crs import DEFAULT_CRS_LIST, get_supported_crs_list
from pyproj import CRS

from cim.errors import BadRequest
from cim.messages import say
from cim.read.filters import Condition, inside_box
from cim.reference.crs import Operation, area_of_use, operation, split
from services.http.pages import render

VERSION = "0.24."
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


@dataclass(frozen=True)
class WantedCrs:
    """The CRS of a response."""

    srid: int
    north_first: bool


class WrittenFeatures(Sequence[dict[str, Any]]):
    """Features as PostGIS wrote them; parsed only where a page shows them."""

    def __init__(self, text: str, count: int) -> None:
        self.text, self._count = text, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(json.loads(f"[{self.text}]"))

    def __getitem__(self, index: Any) -> Any:
        return json.loads(f"[{self.text}]")[index]


def install(conformance: list[str]) -> None:
    """Replace the functions, and the classes that are claimed by those that are served.

    Raises:
        RuntimeError: pygeoapi is of another version than the one whose functions these are.

    """
    if not pygeoapi.__version__.startswith(VERSION):
        raise RuntimeError(
            f"pygeoapi {pygeoapi.__version__}: services.ogc.pygeoapi_overrides was written for {VERSION}x"
        )
    for module in (pygeoapi.api, pygeoapi.api.itemtypes):
        module.to_json = to_json
        module.render_j2_template = render
    pygeoapi.api.CONFORMANCE_CLASSES = conformance
    pygeoapi.api.itemtypes.CONFORMANCE_CLASSES_FEATURES = []
    pygeoapi.api.itemtypes.transform_bbox = transform_bbox
    pygeoapi.api.itemtypes.create_crs_transform_spec = wanted_crs


def to_json(document: Any, pretty: bool = False) -> str:  # noqa: ARG001 - pygeoapi's signature
    """Return JSON text: Chinese as it is, no links to what isn't served, written features passed through."""
    if not isinstance(document, dict):
        return json.dumps(document, ensure_ascii=False, default=str)
    document = _honest(document)
    written = document.get("features")
    if isinstance(written, WrittenFeatures):
        rest = {key: value for key, value in document.items() if key != "features"}
        head = json.dumps(rest, ensure_ascii=False, default=str)
        return f'{head[:-1]},"features":[{written.text}]}}'
    return json.dumps(document, ensure_ascii=False, default=str)


_NOT_SERVED = ("f=jsonld", "/TileMatrixSets", "f=csv")
# under its own name pygeoapi would take the number matched for a reason to link a page that doesn't exist
MATCHED = "matched"
OUR_NEXT = "next"  # title of the provider's own link


def _honest(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document without links to what isn't served, and an items link that a client can add to."""
    result = {"numberMatched" if key == MATCHED else key: value for key, value in document.items()}
    if isinstance(links := document.get("links"), list):
        served_links = [link for link in links if not any(part in str(link.get("href")) for part in _NOT_SERVED)]
        # after a full last page pygeoapi links one more, by offset; only the provider knows whether there is one
        served_links = [link for link in served_links if link.get("rel") != "next" or link.get("title") == OUR_NEXT]
        result["links"] = [_plain_items(link) for link in served_links]
    if isinstance(collections := document.get("collections"), list):
        result["collections"] = [_honest(c) for c in collections]
    return result


def _plain_items(link: dict[str, Any]) -> dict[str, Any]:
    """GDAL 3.6 appends /ID to the items link, query and all; as GeoJSON is the default it needs none."""
    if link.get("rel") == "items" and str(link.get("href", "")).endswith("/items?f=json"):
        return link | {"href": link["href"].removesuffix("?f=json")}
    return link


@lru_cache(maxsize=64)
def crs_of(uri: str) -> tuple[CRS, bool]:
    """Return the horizontal CRS of a URI, and whether its first axis is north."""
    if uri in DEFAULT_CRS_LIST or "CRS84" in uri:
        return CRS.from_epsg(4326), False
    code = uri.rstrip("/").split("/")[-1]
    crs, _ = split(CRS.from_epsg(int(code)))
    return crs, crs.axis_info[0].direction.lower() == "north"


def wanted_crs(provider_def: dict[str, Any], query_crs_uri: str | None = None) -> WantedCrs:
    """Return the CRS that a response is wanted in, if it is one of the collection's."""
    uri = query_crs_uri or CRS84
    supported = get_supported_crs_list(provider_def)
    if uri not in supported:
        raise ValueError(f"crs {uri} isn't one of this collection: {', '.join(supported)}")
    crs, north_first = crs_of(uri)
    return WantedCrs(crs.to_epsg() or 4326, north_first)


@dataclass(frozen=True)
class BoxChange:
    """How boxes go from one CRS to another: made once, because the registry is slow to ask."""

    north_first: bool
    area: tuple[float, float, float, float] | None  # to which a box in degrees is cut; None: it isn't in degrees
    operation: Operation
    srid: int  # of the CRS it leads to


@lru_cache(maxsize=64)
def _box_change(from_crs: str, to_crs: str) -> BoxChange:
    source, north_first = crs_of(from_crs)
    target, _ = crs_of(to_crs)
    area = (area_of_use(target) or (-180.0, -90.0, 180.0, 90.0)) if source.is_geographic else None
    return BoxChange(north_first, area, operation(source, target), target.to_epsg() or 0)


def transform_bbox(bbox: list[float], from_crs: str, to_crs: str, always_xy: bool = False) -> Condition:  # noqa: ARG001
    """Return the condition that a box makes, which is in the axis order of its own CRS."""
    change = _box_change(from_crs, to_crs)
    low, high = bbox[: len(bbox) // 2], bbox[len(bbox) // 2 :]
    if change.north_first:
        low, high = low[1::-1], high[1::-1]
    xmin, ymin, xmax, ymax = *low[:2], *high[:2]
    if change.area:
        # a box of the whole world can't be put into a city's CRS; beyond the CRS's area there is nothing of the city
        west, south, east, north = change.area
        xmin, xmax = min(max(xmin, west - 1), east + 1), min(max(xmax, west - 1), east + 1)
        ymin, ymax = min(max(ymin, south - 1), north + 1), min(max(ymax, south - 1), north + 1)
    if ymin > ymax:
        raise BadRequest(say("south-edge-lies-north-north", ymin=ymin, ymax=ymax))
    return inside_box((xmin, ymin, xmax, ymax), change.operation, change.srid)
