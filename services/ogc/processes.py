"""`/ogc/processes` and `/ogc/jobs`: OGC API - Processes (18-062r2) over the registry of analyses and the queue."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cim.analysis.engine.registry import Analysis, analyses, analysis, check_parameters
from cim.errors import BadRequest, NotAllowed, NotFound
from cim.jobs import queue as jobs
from services.http import context
from services.http.ask import ASK
from services.http.context import Context
from services.http.jobs import error_of, read_job, result_text, submit, wait_for
from services.http.pages import page

if TYPE_CHECKING:
    from cim.analysis.engine.result import Output

SYNC_WAIT_S = 60.0  # a synchronous answer that takes longer becomes a job to look for
GEOJSON = "application/geo+json"
CONFORMANCE = [
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/ogc-process-description",
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/json",
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/job-list",
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/dismiss",
]


def _answer(request: Request, template: str, document: dict[str, Any], status: int = 200, **headers: str) -> Response:
    """Answer a document, as a page to who asks for one."""
    wanted = request.query_params.get("f")
    accepts_html = "text/html" in request.headers.get("accept", "").split(",")[0]
    headers |= {"Vary": "Accept, Accept-Language"}
    if wanted == "html" or (wanted is None and accepts_html):
        return Response(page(context.of(request), template, document), status, headers, media_type="text/html")
    if wanted not in (None, "json"):
        raise BadRequest(f"f={wanted}: json or html")
    return Response(json.dumps(document, ensure_ascii=False), status, headers, media_type="application/json")


def process_list(request: Request) -> Response:
    """Answer the processes."""
    rows = [_summary(row) for row in analyses().values()]
    base = f"{ASK.get().base_url}/ogc/processes"
    links = [{"rel": "self", "type": "application/json", "href": f"{base}?f=json"}]
    return _answer(request, "processes/index.html", {"processes": rows, "links": links})


def process(request: Request) -> Response:
    """Answer the description of a process."""
    return _answer(request, "processes/process.html", describe(_analysis(request)))


def _analysis(request: Request) -> Analysis:
    return analysis(request.path_params["process"])


def _summary(row: Analysis) -> dict[str, Any]:
    ask = ASK.get()
    base = f"{ask.base_url}/ogc/processes/{row.name}"
    return {
        "id": row.name,
        "title": row.title.to(ask.language),
        "description": row.description.to(ask.language),
        "version": "1.0.0",
        "jobControlOptions": ["sync-execute", "async-execute", "dismiss"],
        "outputTransmission": ["value"],
        "links": [
            {"rel": "self", "type": "application/json", "href": f"{base}?f=json"},
            {
                "rel": "http://www.opengis.net/def/rel/ogc/1.0/execute",
                "type": "application/json",
                "href": f"{base}/execution",
            },
        ],
    }


def describe(row: Analysis) -> dict[str, Any]:
    """Return the description of an analysis: inputs from its model, one output."""
    code, language = row.code, ASK.get().language
    schema = code.Parameters.model_json_schema()
    required = set(schema.get("required", ()))
    inputs = {name: _input(name, said, name in required) for name, said in schema["properties"].items()}
    columns = {o.name: _column(o, language) for o in code.OUTPUTS}
    output = {
        "title": row.title.to(language),
        "description": "GeoJSON, with figures, check and origin as further members",
        "schema": {"type": "object", "contentMediaType": GEOJSON, "x-columns": columns}
        | {"x-color-by": row.color_by, "x-kinds": {k: v.model_dump() for k, v in getattr(code, "KINDS", {}).items()}},
    }
    return _summary(row) | {"inputs": inputs, "outputs": {"result": output}}


def _input(name: str, said: dict[str, Any], required: bool) -> dict[str, Any]:
    title = said.get("zh") if ASK.get().language == "zh" else said.get("title")
    kept = {k: v for k, v in said.items() if k not in ("zh", "title", "unit", "description", "choices", "default")}
    options = [option for option in kept.pop("anyOf", []) if option.get("type") != "null"]
    if options:
        kept |= options[0]
    if said.get("default") is not None:
        kept["default"] = said["default"]
    if said.get("unit"):
        kept["x-ogc-unit"] = said["unit"]
    if said.get("choices"):
        kept["x-choices"] = said["choices"]
    described: dict[str, Any] = {"title": title or name, "schema": kept, "minOccurs": int(required), "maxOccurs": 1}
    if said.get("description"):
        described["description"] = said["description"]
    return described


def _column(output: "Output", language: str) -> dict[str, Any]:
    described: dict[str, Any] = {"title": output.title.to(language)}
    if output.unit:
        described["x-ogc-unit"] = output.unit
    if output.definition:
        described["description"] = output.definition.to(language)
    return described


async def execute(request: Request) -> Response:
    """Run a process: at once, or as a job where the asker prefers that or it takes long."""
    row = _analysis(request)
    try:
        body = await request.json()
        inputs = dict(body.get("inputs", {}))
    except (ValueError, TypeError, AttributeError) as fault:
        raise BadRequest("the body must be JSON with a member inputs") from fault
    await run_in_threadpool(check_parameters, row.name, inputs)
    state = context.of(request)
    job = await run_in_threadpool(submit, state, "analysis", row.name, inputs)
    if "respond-async" not in request.headers.get("prefer", ""):
        found = await run_in_threadpool(wait_for, state, job, SYNC_WAIT_S)
        if found.status == "successful":
            return await run_in_threadpool(_result, state, job)
        if found.finished is not None:
            raise error_of(found)
    found = await run_in_threadpool(read_job, state, job)
    address = f"{ASK.get().base_url}/ogc/jobs/{job}"
    return JSONResponse(status_of(found), 201, {"Location": address, "Preference-Applied": "respond-async"})


def _result(state: Context, job: UUID) -> Response:
    headers = {"Link": f'<{ASK.get().base_url}/ogc/jobs/{job}>; rel="monitor"'}
    return Response(result_text(state, job), headers=headers, media_type=GEOJSON)


def status_of(job: jobs.Job) -> dict[str, Any]:
    """Return the status document of a job."""
    base = f"{ASK.get().base_url}/ogc/jobs/{job.job}"
    links = [{"rel": "self", "type": "application/json", "href": f"{base}?f=json"}]
    if job.status == "successful":
        rel = "http://www.opengis.net/def/rel/ogc/1.0/results"
        links.append({"rel": rel, "type": GEOJSON, "href": f"{base}/results"})
    return {
        "jobID": str(job.job),
        "processID": job.name,
        "type": "process",
        "status": job.status,
        "message": job.message,
        "progress": round(job.progress * 100),
        **{name: _moment(getattr(job, name)) for name in ("created", "started", "updated", "finished")},
        "links": links,
    }


def _moment(moment: Any) -> str | None:
    return moment.isoformat() if moment else None


def job_list(request: Request) -> Response:
    """Answer the asker's jobs; an admin's are everybody's."""
    state = context.of(request)
    with state.cursor() as cursor:
        found = jobs.list_jobs(cursor, ASK.get().asker)
    links = [{"rel": "self", "type": "application/json", "href": f"{ASK.get().base_url}/ogc/jobs?f=json"}]
    return _answer(request, "processes/jobs.html", {"jobs": [status_of(job) for job in found], "links": links})


def job(request: Request) -> Response:
    """Answer how a job stands."""
    return _answer(request, "processes/job.html", status_of(_of_process(request)))


def _of_process(request: Request) -> jobs.Job:
    found = read_job(context.of(request), jobs.parse_id(request.path_params["job"]))
    if found.kind != "analysis":
        raise NotFound(f"no job {found.job}")
    return found


def job_results(request: Request) -> Response:
    """Answer the result of a finished job."""
    found = _of_process(request)
    if found.status == "failed":
        raise error_of(found)
    return _result(context.of(request), found.job)


def dismiss(request: Request) -> Response:
    """Dismiss a job; the process that runs it is ended."""
    state = context.of(request)
    found = _of_process(request)
    asker = ASK.get().asker
    if found.asker.account is not None and asker.role != "admin" and asker.account != found.asker.account:
        raise NotAllowed(f"job {found.job} isn't yours")
    with state.cursor() as cursor:
        dismissed = jobs.dismiss(cursor, found.job)
    return JSONResponse(status_of(dismissed))


_PATHS: list[tuple[str, Callable[..., Any], str]] = [
    ("/ogc/processes", process_list, "GET"),
    ("/ogc/processes/{process}", process, "GET"),
    ("/ogc/processes/{process}/execution", execute, "POST"),
    ("/ogc/processes/{process}/execution", process, "GET"),  # who follows the link reads how to execute
    ("/ogc/jobs", job_list, "GET"),
    ("/ogc/jobs/{job}", job, "GET"),
    ("/ogc/jobs/{job}", dismiss, "DELETE"),
    ("/ogc/jobs/{job}/results", job_results, "GET"),
]
ROUTES = [
    Route(f"{path}{slash}", endpoint, methods=[method]) for path, endpoint, method in _PATHS for slash in ("", "/")
]
