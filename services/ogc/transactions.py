"""Edits at `/ogc`: POST, PUT and DELETE of features (OGC API - Features, part 4), behind a key of the role editor.

The process that serves can't write; a worker applies the edit, in one transaction with its audit row. One that has to
wait, for a load into its layer or for a worker, is answered with 202 and the address of its job; it isn't lost.
"""

import json
import secrets
from typing import Any

from pyproj.exceptions import CRSError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cim.clock import Clock
from cim.errors import BadRequest
from cim.messages import say, tell
from services.http import context
from services.http.ask import ASK, moment
from services.http.jobs import address_of, error_of, result_text, submit, wait_for
from services.ogc.processes import item_address, status_of
from services.ogc.pygeoapi_overrides import crs_of

WAIT_S = 5.0
CRS84 = "OGC:CRS84"
STATUS = {"created": 201, "replaced": 200, "unchanged": 200, "deleted": 200}


async def edit(request: Request) -> Response:
    """Create, replace or end an object."""
    ASK.get().require("editor")
    state = context.of(request)
    layer = state.layer(request.path_params["collection"])
    action = {"POST": "create", "PUT": "replace", "DELETE": "delete"}[request.method]
    feature = None if action == "delete" else await _feature(request)
    identifier = request.path_params.get("item") or (feature or {}).get("id") or secrets.token_hex(8)
    at = _valid_from(request, feature, state.store.city.clock)
    crs, feature = _x_before_y(request.headers.get("content-crs", ""), feature)
    asked: dict[str, Any] = {"id": str(identifier), "action": action, "feature": feature, "crs": crs, "at": at}
    job = await run_in_threadpool(submit, state, "edit", layer.id, asked)
    job_state = await run_in_threadpool(wait_for, state, job, WAIT_S)
    if job_state.finished is None:
        return JSONResponse(status_of(job_state), 202, {"Location": address_of(job)})
    if job_state.status != "successful":
        raise error_of(job_state)
    edited = json.loads(await run_in_threadpool(result_text, state, job))
    edited["warnings"] = tell(edited["warnings"], ASK.get().language)
    address = item_address(layer.id, edited["id"])
    return JSONResponse(edited, STATUS[edited["action"]], {"Location": address} if action != "delete" else None)


async def _feature(request: Request) -> dict[str, Any]:
    try:
        feature = await request.json()
    except (ValueError, RecursionError) as fault:
        raise BadRequest(say("body-not-json", reason=fault)) from fault
    if not isinstance(feature, dict):
        raise BadRequest(say("body-must-geojson-feature"))
    return feature


def _valid_from(request: Request, feature: dict[str, Any] | None, clock: Clock) -> str | None:
    """Return the moment from which an edit holds: `datetime`, else the feature's valid_from."""
    text = request.query_params.get("datetime") or ((feature or {}).get("properties") or {}).get("valid_from")
    at = moment(text, clock)
    return at.isoformat() if at else None


def _x_before_y(header: str, feature: dict[str, Any] | None) -> tuple[str, dict[str, Any] | None]:
    """Return the CRS of a feature that Content-Crs names, as part 2 writes it, and the feature with x before y.

    Its coordinates come in the order of the CRS's own axes, as `crs` answers them. Without the header they are
    longitude and latitude.
    """
    uri = header.strip("<> ")
    if not uri or "CRS84" in uri:
        return CRS84, feature
    code = uri.rstrip("/").rsplit("/", 1)[-1]
    try:
        _, north_first = crs_of(uri)
    except (ValueError, CRSError) as fault:
        raise BadRequest(say("content-crs", uri=uri)) from fault
    geometry = feature.get("geometry") if feature else None
    if north_first and feature and isinstance(geometry, dict):
        turned = geometry | {"coordinates": _turned(geometry.get("coordinates"))}
        feature = feature | {"geometry": turned}
    return f"EPSG:{code}", feature


def _turned(coordinates: Any) -> Any:
    """Return positions, or lists of such, with their first two numbers exchanged."""
    if not isinstance(coordinates, list) or not coordinates:
        return coordinates
    if isinstance(coordinates[0], list):
        return [_turned(part) for part in coordinates]
    return [*coordinates[1::-1], *coordinates[2:]]


ROUTES = [
    Route("/ogc/collections/{collection}/items", edit, methods=["POST"]),
    Route("/ogc/collections/{collection}/items/{item:path}", edit, methods=["PUT", "DELETE"]),
]
