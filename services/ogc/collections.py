"""From the catalog to pygeoapi's configuration and our OpenAPI: made in memory, for one public address."""

from typing import Any

import numpy as np

from cim.analysis.engine.registry import analyses
from cim.catalog.model import Layer
from cim.read.layer_summary import extent
from cim.version import VERSION
from services.http.context import Context
from services.ogc.pygeoapi_overrides import CRS84

MOST_ITEMS = 10_000
DEFAULT_ITEMS = 100
EPSG = "http://www.opengis.net/def/crs/EPSG/0/{}"


def configuration(context: Context, base_url: str) -> dict[str, Any]:
    """Return pygeoapi's configuration with a collection for each layer; a raster's holds its sheets."""
    city = context.store.city
    title = {"en": f"{city.name}: city information model", "zh": f"{city.name}城市信息模型"}
    about = {"en": "The dated 3D twin of the city as OGC API collections", "zh": "城市三维时空数据，按 OGC API 提供"}
    layers = list(context.store.catalog.layers.values())
    with context.cursor() as cursor:
        boxes = {layer.id: extent(cursor, [layer]) for layer in layers}
    return {
        "server": {
            "bind": {"host": "0.0.0.0", "port": 0},  # noqa: S104 - pygeoapi wants it; nothing is bound
            "url": f"{base_url}/ogc",
            "mimetype": "application/json; charset=UTF-8",
            "encoding": "utf-8",
            "gzip": False,
            "languages": ["en", "zh"],
            "limits": {"default_items": DEFAULT_ITEMS, "max_items": MOST_ITEMS, "on_exceed": "throttle"},
            "map": {"url": "", "attribution": ""},
        },
        "logging": {"level": "CRITICAL"},
        "metadata": {
            "identification": {
                "title": title,
                "description": about,
                "keywords": {"en": ["city", "3D"], "zh": ["城市", "三维"]},
                "keywords_type": "theme",
                "terms_of_service": "",
                "url": f"{base_url}/",
            },
            "license": {"name": "", "url": f"{base_url}/"},
            "provider": {"name": city.name, "url": f"{base_url}/"},
            "contact": {"name": city.name},
        },
        "resources": {layer.id: _collection(layer, context, boxes[layer.id], base_url) for layer in layers},
    }


def _collection(
    layer: Layer, context: Context, box: tuple[float, float, float, float] | None, base_url: str
) -> dict[str, Any]:
    west, south, east, north = _degrees(context, box)
    storage = EPSG.format(context.store.city.srid)
    links = []
    if layer.leaf_level is not None:
        links.append(
            {
                "type": "application/json",
                "rel": "alternate",
                "title": {"en": "3D Tiles", "zh": "三维瓦片"},
                "href": f"{base_url}/3dtiles/{layer.id}/tileset.json",
            }
        )
    return {
        "type": "collection",
        "title": {"en": layer.title.en, "zh": layer.title.zh},
        "description": {"en": layer.description.en, "zh": layer.description.zh},
        "keywords": {"en": [layer.class_code], "zh": [layer.class_code]},
        "links": links if _has_tiles(context, layer) else [],
        "extents": {"spatial": {"bbox": [west, south, east, north], "crs": CRS84}},
        "providers": [
            {
                "type": "feature",
                "name": "services.ogc.provider.FeatureProvider",
                "data": layer.id,
                "id_field": "id",
                "title_field": None,
                "crs": [CRS84, EPSG.format(4326), storage],
                "storage_crs": storage,
            }
        ],
    }


def _has_tiles(context: Context, layer: Layer) -> bool:
    with context.cursor() as cursor:
        return bool(cursor.execute("SELECT 1 FROM cim.tile_root WHERE layer = %s", [layer.id]).fetchone())


def _degrees(context: Context, box: tuple[float, float, float, float] | None) -> tuple[float, float, float, float]:
    if box is None:
        return context.store.city.extent or (-180.0, -90.0, 180.0, 90.0)
    lon, lat = context.to_wgs84(np.array([box[0], box[2], box[0], box[2]]), np.array([box[1], box[3], box[3], box[1]]))
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def openapi(context: Context, base_url: str, language: str) -> dict[str, Any]:
    """Return the OpenAPI definition: what is served here, with no reference to another origin."""
    city = context.store.city
    paths: dict[str, Any] = {
        "/": _get("landing page", "landing"),
        "/conformance": _get("conformance classes", "conformance"),
        "/collections": _get("collections", "collections"),
    }
    for layer in context.store.catalog.layers.values():
        name, title = layer.id, layer.title.to(language)
        paths[f"/collections/{name}"] = _get(title, f"describe_{name}")
        paths[f"/collections/{name}/schema"] = _get(f"{title}: schema", f"schema_{name}")
        paths[f"/collections/{name}/queryables"] = _get(f"{title}: queryables", f"queryables_{name}")
        shared = (
            "filter",
            "filter-lang",
            "bbox",
            "bbox-crs",
            "crs",
            "datetime",
            "limit",
            "offset",
            "cursor",
            "sortby",
            "skipGeometry",
        )
        parameters = [{"$ref": f"#/components/parameters/{p}"} for p in shared]
        fields = [
            {"name": f.name, "in": "query", "description": f.title.to(language), "schema": {"type": "string"}}
            for f in layer.all_fields
        ]
        paths[f"/collections/{name}/items"] = _get(f"{title}: items", f"items_{name}", [*parameters, *fields])
        one = [{"$ref": f"#/components/parameters/{p}"} for p in ("featureId", "crs", "datetime")]
        paths[f"/collections/{name}/items/{{featureId}}"] = _get(f"{title}: item", f"item_{name}", one)
        if layer.geometry is not None:
            paths[f"/collections/{name}/items"] |= _write("post", f"{title}: create", f"create_{name}")
            paths[f"/collections/{name}/items/{{featureId}}"] |= {
                **_write("put", f"{title}: replace", f"replace_{name}", one[:1]),
                **_write("delete", f"{title}: end", f"end_{name}", one[:1]),
            }
    paths |= _process_paths(language)
    return {
        "openapi": "3.0.3",
        "info": {"title": city.name, "version": VERSION, "description": "cim"},
        "servers": [{"url": f"{base_url}/ogc"}],
        "paths": paths,
        "components": {"parameters": _parameters(), "schemas": _schemas(), "securitySchemes": _SECURITY},
    }


def _get(summary: str, operation_id: str, parameters: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    common = [{"$ref": f"#/components/parameters/{p}"} for p in ("f", "lang")]
    return {
        "get": {
            "summary": summary,
            "operationId": operation_id,
            "parameters": [*(parameters or []), *common],
            "responses": {
                "200": {"description": "the answer"},
                "400": {"description": "a parameter can't be read", "content": _PROBLEM},
                "404": {"description": "there is no such thing", "content": _PROBLEM},
            },
        }
    }


def _write(method: str, summary: str, operation_id: str, parameters: list[Any] | None = None) -> dict[str, Any]:
    """Return an operation that changes something: it needs a key."""
    body = {"required": True, "content": {"application/geo+json": {"schema": {"type": "object"}}}}
    answers = {
        "200": "done",
        "202": "it waits for a load into its layer: Location is the job's address",
        "400": "it can't be read or can't stand",
        "401": "a key is needed",
        "403": "the role isn't enough",
    }
    operation: dict[str, Any] = {
        "summary": summary,
        "operationId": operation_id,
        "parameters": parameters or [],
        "security": [{"key": []}, {"basic": []}],
        "responses": {
            status: {"description": description, "content": _PROBLEM} for status, description in answers.items()
        },
    }
    return {method: operation if method == "delete" else operation | {"requestBody": body}}


def _process_paths(language: str) -> dict[str, Any]:
    job_id = [{"name": "jobId", "in": "path", "required": True, "schema": {"type": "string"}}]
    paged = [{"$ref": f"#/components/parameters/{p}"} for p in ("bbox", "limit", "offset")]
    one = [{"$ref": "#/components/parameters/featureId"}]
    paths = {
        "/processes": _get("processes", "processes"),
        "/jobs": _get("jobs", "jobs"),
        "/jobs/{jobId}": _get("job", "job", job_id) | _write("delete", "dismiss a job", "dismiss_job", job_id),
        "/jobs/{jobId}/results": _get("results", "job_results", job_id),
        "/jobs/{jobId}/conformance": _get("conformance classes of a result", "result_conformance", job_id),
        "/jobs/{jobId}/collections": _get("a result as a collection", "result_collections", job_id),
        "/jobs/{jobId}/collections/results": _get("rows of a result", "describe_result", job_id),
        "/jobs/{jobId}/collections/results/items": _get("rows: items", "items_result", [*job_id, *paged]),
        "/jobs/{jobId}/collections/results/items/{featureId}": _get("a row", "item_result", [*job_id, *one]),
    }
    for row in analyses().values():
        title = row.title.to(language)
        paths[f"/processes/{row.name}"] = _get(title, f"describe_{row.name}")
        run = _write("post", f"{title}: execute", f"execute_{row.name}")
        run["post"].pop("security")
        run["post"]["requestBody"]["content"] = {"application/json": {"schema": {"type": "object"}}}
        paths[f"/processes/{row.name}/execution"] = run
    return paths


_PROBLEM = {"application/json": {"schema": {"$ref": "#/components/schemas/exception"}}}


_SECURITY = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "basic": {"type": "http", "scheme": "basic"},
}


def _parameters() -> dict[str, Any]:
    def query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
        return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}

    text = {"type": "string"}
    numbers = {"type": "array", "minItems": 4, "maxItems": 6, "items": {"type": "number"}}
    limit = {"type": "integer", "minimum": 1, "maximum": MOST_ITEMS, "default": DEFAULT_ITEMS}
    return {
        "f": query("f", {"type": "string", "enum": ["json", "html"]}, "format"),
        "lang": query("lang", {"type": "string", "enum": ["en", "zh"]}, "language"),
        "bbox": query("bbox", numbers, "west, south, east, north") | {"style": "form", "explode": False},
        "bbox-crs": query("bbox-crs", text, "CRS of bbox, in whose axis order it then is"),
        "crs": query("crs", text, "CRS of the answer"),
        "filter": query("filter", text, "CQL2: only what it holds for"),
        "filter-lang": query("filter-lang", {"type": "string", "enum": ["cql2-text", "cql2-json"]}, "told by the text"),
        "datetime": query("datetime", text, "city time: an instant or an interval"),
        "limit": query("limit", limit, "features on a page") | {"style": "form", "explode": False},
        "offset": query("offset", {"type": "integer", "minimum": 0, "default": 0}, "features to skip"),
        "cursor": query("cursor", text, "where a next link goes on"),
        "sortby": query("sortby", text, "fields, with - for descending"),
        "skipGeometry": query("skipGeometry", {"type": "boolean", "default": False}, "without geometry"),
        "featureId": {"name": "featureId", "in": "path", "required": True, "schema": text},
    }


def _schemas() -> dict[str, Any]:
    code = {"type": "string"}
    return {"exception": {"type": "object", "properties": {"code": code, "description": code}, "required": ["code"]}}
