"""Bringing data in the browser: send a file, see what the checks say, accept it, take it back. For editors."""

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from cim.errors import BadRequest, NotFound, TooLarge
from cim.jobs import queue as jobs
from cim.messages import say, tell, told
from ingest.delivery.declared import Declared
from ingest.sources.uploads import LARGEST_BYTES, folder_of, new_upload
from services.http import context
from services.http.ask import ASK
from services.http.jobs import submit
from services.http.quality_page import quality_page

KINDS = ("rehearsal", "load", "undo")
_SAID = ("layer", "crs", "vertical_datum", "encoding", "date", "dataset", "id_prefix", "complete", "anchor")


async def send(request: Request) -> Response:
    """Take a file (the body; its name in `name`) and queue the checks."""
    ASK.get().require("editor")
    state = context.of(request)
    options = _options(request)
    upload, path = new_upload(state.store.settings, request.query_params.get("name", ""))
    try:
        await _written(request, path)
    except BaseException:  # the client left, or sends too much or nothing more: what there is of it is no use
        shutil.rmtree(path.parent, ignore_errors=True)
        raise
    job = await run_in_threadpool(submit, state, "rehearsal", path.name, {"upload": upload, "options": options})
    return JSONResponse({"upload": upload, "job": str(job)}, 202)


async def _written(request: Request, path: Path) -> None:
    size = 0
    with path.open("wb") as file:
        async for piece in request.stream():
            size += len(piece)
            if size > LARGEST_BYTES:
                raise TooLarge(say("file-more-than-gb", largest_bytes=LARGEST_BYTES // 10**9))
            await run_in_threadpool(file.write, piece)


async def accept(request: Request) -> Response:
    """Queue the loading of an upload."""
    ASK.get().require("editor")
    state = context.of(request)
    upload = request.path_params["upload"]
    folder_of(state.store.settings, upload)
    asked = {"upload": upload, "options": _options(request)}
    return JSONResponse({"job": str(await run_in_threadpool(submit, state, "load", upload, asked))}, 202)


async def take_back(request: Request) -> Response:
    """Queue taking a load back."""
    ASK.get().require("editor")
    load = request.path_params["load"]
    job = await run_in_threadpool(submit, context.of(request), "undo", str(load), {"load": load})
    return JSONResponse({"job": str(job)}, 202)


def job(request: Request) -> Response:
    """Answer how a job of this kind stands, with its result when it is done."""
    ASK.get().require("editor")
    identifier = jobs.parse_id(request.path_params["job"])
    with context.of(request).cursor() as cursor:
        job = jobs.read_job(cursor, identifier)
        if job.kind not in KINDS:
            raise NotFound(say("no-job-upload", identifier=identifier))
        result: Any = json.loads(jobs.read_result(cursor, identifier)) if job.status == "successful" else None
    if result and "report" in result:
        result["report"] = tell(result["report"], ASK.get().language)
    if result:
        result.pop("quality", None)  # the page has it
    return JSONResponse({"status": job.status, "message": told(job.message, ASK.get().language), "result": result})


def quality(request: Request) -> Response:
    """Answer the quality report of an upload's checks or of its loading, as a page."""
    ASK.get().require("editor")
    state = context.of(request)
    identifier = jobs.parse_id(request.path_params["job"])
    with state.cursor() as cursor:
        job = jobs.read_job(cursor, identifier)
        if job.kind not in ("rehearsal", "load") or job.status != "successful":
            raise NotFound(say("no-quality-report-job", identifier=identifier))
        outcome: Any = json.loads(jobs.read_result(cursor, identifier))
    load_record = {"load": outcome["report"]["load"], "operator": ASK.get().asker.name} | {
        key: outcome[key] for key in ("report", "quality")
    }
    return HTMLResponse(quality_page(load_record, state.store.city.name, ASK.get().language))


def _options(request: Request) -> dict[str, Any]:
    """Return what is said about the file, as `cim ingest` has it.

    Raises:
        BadRequest: a value that can't be.

    """
    options = {key: value for key, value in parse_qsl(request.url.query) if key in _SAID and value}
    try:
        return Declared.model_validate(options).model_dump(mode="json", exclude_none=True)
    except ValidationError as fault:
        raise BadRequest("; ".join(f"{e['loc'][0]}: {e['msg']}" for e in fault.errors())) from fault


ROUTES = [
    Route("/viewer/uploads", send, methods=["POST"]),
    Route("/viewer/uploads/{upload}/accept", accept, methods=["POST"]),
    Route("/viewer/uploads/jobs/{job}", job),
    Route("/viewer/uploads/jobs/{job}/quality", quality),
    Route("/viewer/loads/{load:int}/undo", take_back, methods=["POST"]),
]
