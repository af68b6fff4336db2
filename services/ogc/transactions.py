"""Edits at `/ogc`: POST, PUT and DELETE of features (OGC API - Features, part 4), behind a key of the role editor.

The process that serves can't write; a worker applies the edit, in one transaction with its audit row.
"""

import json
import secrets
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cim.errors import BadRequest
from services.http import context
from services.http.ask import ASK, moment
from services.http.jobs import error_of, result_text, submit, wait_for

WAIT_S = 30.0
CRS84 = "OGC:CRS84"
STATUS = {"created": 201, "replaced": 200, "unchanged": 200, "deleted": 200}


async def edit(request: Request) -> Response:
    """Create, replace or end an object."""
    ASK.get().require("editor")
    state = context.of(request)
    layer = state.layer(request.path_params["collection"])
    action = {"POST": "create", "PUT": "replace", "DELETE": "delete"}[request.method]
    feature = None if action == "delete" else await _feature(request)
    said = request.path_params.get("item") or (feature or {}).get("id") or secrets.token_hex(8)
    at = _valid_from(request, feature)
    asked: dict[str, Any] = {
        "id": str(said),
        "action": action,
        "feature": feature,
        "crs": _crs(request),
        "at": at,
    }
    job = await run_in_threadpool(submit, state, "edit", layer.id, asked)
    found = await run_in_threadpool(wait_for, state, job, WAIT_S)
    if found.status != "successful":
        raise error_of(found)
    edited = json.loads(await run_in_threadpool(result_text, state, job))
    address = f"{ASK.get().base_url}/ogc/collections/{layer.id}/items/{quote(edited['id'], safe='')}"
    return JSONResponse(edited, STATUS[edited["action"]], {"Location": address} if action != "delete" else None)


async def _feature(request: Request) -> dict[str, Any]:
    try:
        feature = await request.json()
    except (ValueError, RecursionError) as fault:
        raise BadRequest(f"the body isn't JSON: {fault}") from fault
    if not isinstance(feature, dict):
        raise BadRequest("the body must be a GeoJSON Feature")
    return feature


def _valid_from(request: Request, feature: dict[str, Any] | None) -> str | None:
    """Return the moment from which an edit holds: `datetime`, else the feature's valid_from."""
    said = request.query_params.get("datetime") or ((feature or {}).get("properties") or {}).get("valid_from")
    at = moment(said)
    return at.isoformat() if at else None


def _crs(request: Request) -> str:
    """Return the CRS of the geometry: Content-Crs as part 2 writes it, else longitude and latitude."""
    uri = request.headers.get("content-crs", "").strip("<> ")
    if not uri or "CRS84" in uri:
        return CRS84
    code = uri.rstrip("/").rsplit("/", 1)[-1]
    if not code.isdigit():
        raise BadRequest(f"Content-Crs {uri}: the URI of a CRS of EPSG")
    return f"EPSG:{code}"


ROUTES = [
    Route("/ogc/collections/{collection}/items", edit, methods=["POST"]),
    Route("/ogc/collections/{collection}/items/{item:path}", edit, methods=["PUT", "DELETE"]),
]
