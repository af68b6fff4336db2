"""`/ogc`: thin routes that call pygeoapi as a library, with an API made for the asker's address."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pygeoapi.api import API, APIRequest, conformance, describe_collections, get_collection_schema, landing_page
from pygeoapi.api.itemtypes import get_collection_item, get_collection_items
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cim.errors import NotFound
from cim.messages import say
from services.http.ask import ASK
from services.http.context import CONTEXT, Context, of
from services.http.pages import render
from services.ogc import collections, processes, pygeoapi_overrides
from services.ogc.provider import FeatureProvider

Answer = tuple[dict[str, str], int, str]
FRESH_S = 30  # after which a collection's extent is looked up again

# only what a test exercises; stock pygeoapi lists more than it is asked here
CONFORMANCE = [
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/json",
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/html",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/oas30",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/html",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
    "http://www.opengis.net/spec/ogcapi-features-2/1.0/conf/crs",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/filter",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/features-filter",
    "http://www.opengis.net/spec/ogcapi-features-4/1.0/conf/create-replace-delete",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-text",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-json",
    "http://www.opengis.net/spec/cql2/1.0/conf/basic-cql2",
    *processes.CONFORMANCE,
]

OUR_PARAMETERS = ("filter", "filter-lang", "filter-crs", "cursor", "at")
pygeoapi_overrides.install(CONFORMANCE)


@lru_cache(maxsize=16)
def _api(context: Context, base_url: str, _public_only: bool, _age: int) -> API:
    """Make the API of a public address, for who has signed in or who hasn't: extents differ by what one may see.

    It is made anew as time passes, because loads move extents.
    """
    return API(collections.configuration(context, base_url), {})


def _route(call: Callable[[API, APIRequest, Request], Answer]) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        context = of(request)
        CONTEXT.set(context)
        api = _api(context, ASK.get().base_url, ASK.get().public_only, int(time.monotonic() / FRESH_S))
        asked = APIRequest(request, api.locales)
        if asked.format is None and not request.query_params.get("f"):
            asked._format = "json"  # noqa: SLF001 - Accept: */* is JSON here
        for name in OUR_PARAMETERS:  # read from the request by the provider; pygeoapi would parse them its own way
            asked._args = {k: v for k, v in asked._args.items() if k != name}  # noqa: SLF001
        if asked.format not in ("json", "html"):
            headers, status, content = api.get_format_exception(asked)
        else:
            headers, status, content = call(api, asked, request)
        headers = {key: value for key, value in headers.items() if key.lower() != "x-powered-by"}
        kind = headers.pop("Content-Type", "application/json")
        if call is _items or call is _item:
            kind = "application/geo+json" if asked.format == "json" and status == 200 else kind
        return Response(content, status, headers | {"Vary": "Accept, Accept-Language"}, media_type=kind)

    return endpoint


def _landing(api: API, asked: APIRequest, _: Request) -> Answer:
    return landing_page(api, asked)  # type: ignore[no-any-return]


def _conformance(api: API, asked: APIRequest, _: Request) -> Answer:
    return conformance(api, asked)  # type: ignore[no-any-return]


def _collections(api: API, asked: APIRequest, request: Request) -> Answer:
    return describe_collections(api, asked, request.path_params.get("collection"))  # type: ignore[no-any-return]


def _schema(api: API, asked: APIRequest, request: Request) -> Answer:
    return get_collection_schema(api, asked, request.path_params["collection"])  # type: ignore[no-any-return]


def _items(api: API, asked: APIRequest, request: Request) -> Answer:
    return get_collection_items(api, asked, request.path_params["collection"])  # type: ignore[no-any-return]


def _item(api: API, asked: APIRequest, request: Request) -> Answer:
    return get_collection_item(api, asked, request.path_params["collection"], request.path_params["item"])  # type: ignore[no-any-return]


def _queryables(api: API, asked: APIRequest, request: Request) -> Answer:
    """Answer queryables with titles and code lists, which the stock function drops."""
    name = request.path_params["collection"]
    if name not in api.config["resources"]:
        raise NotFound(say("no-collection", name=name))
    definition = api.config["resources"][name]
    provider = FeatureProvider(definition["providers"][0])
    address = f"{api.base_url}/collections/{name}"
    document: dict[str, Any] = {
        "$schema": "http://json-schema.org/draft/2019-09/schema",
        "$id": f"{address}/queryables",
        "type": "object",
        "title": definition["title"][ASK.get().language],
        "properties": {"id": {"title": "id", "type": "string", "x-ogc-role": "id"}, **provider.get_fields()},
        "additionalProperties": False,
    }
    headers = asked.get_response_headers(**api.api_headers)
    if asked.format == "html":
        page = document | {"dataset_path": address, "collections_path": api.get_collections_url()}
        content = render(
            api.tpl_config, api.config["server"]["templates"], "collections/queryables.html", page, asked.locale
        )
        return headers, 200, content
    headers["Content-Type"] = "application/schema+json"
    return headers, 200, pygeoapi_overrides.to_json(document)


def _openapi(api: API, asked: APIRequest, request: Request) -> Answer:
    document = collections.openapi(of(request), ASK.get().base_url, ASK.get().language)
    headers = asked.get_response_headers(**api.api_headers)
    if asked.format == "html":
        content = render(
            api.tpl_config, api.config["server"]["templates"], "openapi/swagger.html", document, asked.locale
        )
        return headers, 200, content
    headers["Content-Type"] = "application/vnd.oai.openapi+json;version=3.0"
    return headers, 200, pygeoapi_overrides.to_json(document)


_PATHS = {
    "": _landing,
    "/openapi": _openapi,
    "/conformance": _conformance,
    "/collections": _collections,
    "/collections/{collection}": _collections,
    "/collections/{collection}/schema": _schema,
    "/collections/{collection}/queryables": _queryables,
    "/collections/{collection}/items": _items,
    "/collections/{collection}/items/{item:path}": _item,
}
# both spellings of each: a later catch-all route would answer the one with a slash
ROUTES = [
    Route(f"/ogc{path}{slash}", _route(call))
    for path, call in _PATHS.items()
    for slash in (("", "/") if "{item" not in path else ("",))
]
