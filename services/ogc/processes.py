"""`/ogc/processes` and `/ogc/jobs`: OGC API - Processes (18-062r2) over the registry of analyses and the queue."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import quote
from uuid import UUID

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from cim.analysis.engine.declaration import RAMPS, UNKNOWN_COLOR, VALUE_COLORS, Declaration, Output
from cim.analysis.engine.keep import read_kept
from cim.analysis.engine.legend import class_bounds
from cim.analysis.engine.legend import picture as raster_picture
from cim.analysis.engine.registry import Analysis, analyses, analysis, check_parameters
from cim.analysis.engine.result import Computed
from cim.analysis.engine.result_files import FORMATS, write_computed
from cim.catalog.row import Text
from cim.city import City
from cim.errors import BadRequest, NotAllowed, NotFound
from cim.jobs import queue as jobs
from cim.messages import say, tell, told
from services.http import answers, context
from services.http.ask import ASK
from services.http.context import Context
from services.http.jobs import address_of, error_of, read_job, result_text, submit, wait_for
from services.http.pages import page
from services.http.result_forms import GLB, SUFFIXES, mesh_of

SYNC_WAIT_S = 60.0  # a synchronous answer that takes longer becomes a job to look for
GEOJSON = "application/geo+json"
OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
# kinds of jobs that are seen here, and what their results are
RESULT_TYPES = {"analysis": GEOJSON, "edit": "application/json"}
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
        raise BadRequest(say("json-or-html", wanted=wanted))
    return Response(json.dumps(document, ensure_ascii=False), status, headers, media_type="application/json")


def process_list(request: Request) -> Response:
    """Answer the processes."""
    base = f"{ASK.get().base_url}/ogc/processes"
    links = [answers.Link(rel="self", type="application/json", href=f"{base}?f=json")]
    summaries = [answers.ProcessSummary(**_summary(row)) for row in analyses().values()]
    document = answers.ProcessList(processes=summaries, links=links).document()
    return _answer(request, "processes/index.html", document)


def process(request: Request) -> Response:
    """Answer the description of a process."""
    return _answer(request, "processes/process.html", describe(_analysis(request)).document())


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


def describe(row: Analysis) -> answers.Process:
    """Return the description of an analysis: inputs from its model, one output with all that it declares."""
    declared, language = row.declaration, ASK.get().language
    schema = declared.parameters.model_json_schema(by_alias=True)
    required = set(schema.get("required", ()))
    look = declared_output(declared, language)
    output = answers.Output(
        title=row.title.to(language),
        description="GeoJSON, with figures, check and origin as further members",
        accepts=answers.OutputSchema(type="object", media_type=GEOJSON, **dict(look)),
    )
    return answers.Process(
        **_summary(row),
        inputs={
            name: _input(name, input_schema, name in required) for name, input_schema in schema["properties"].items()
        },
        outputs=answers.Outputs(result=output),
    )


def declared_output(declared: Declaration, language: str) -> answers.Look:
    """Return what a result is shown by: columns, figures, legend, plots, in one language."""
    legend = declared.legend
    return answers.Look(
        columns={o.name: _column(o, language) for o in declared.columns},
        figures={o.name: _column(o, language) for o in declared.figures},
        legend=answers.Legend(**asdict(legend) | {"ramp": list(RAMPS[legend.ramp])}) if legend else None,
        value_colors=list(VALUE_COLORS),
        unknown_color=UNKNOWN_COLOR,
        plots=[
            answers.Plot(column=p.column, title=p.title.to(language), ticks=[(at, t.to(language)) for at, t in p.ticks])
            for p in declared.plots
        ],
    )


def _input(name: str, input_schema: dict[str, Any], required: bool) -> answers.Input:
    language = ASK.get().language
    title = input_schema.get("zh") if language == "zh" else input_schema.get("title")
    ours = ("zh", "title", "unit", "description", "choices", "also", "default")
    schema = {k: v for k, v in input_schema.items() if k not in ours}
    options = [option for option in schema.pop("anyOf", []) if option.get("type") != "null"]
    if options:
        schema |= options[0]
    also = [option | {"title": Text(**option["title"]).to(language)} for option in input_schema.get("also", ())]
    return answers.Input(
        title=title or name,
        accepts=answers.InputSchema(
            **schema,
            default=input_schema.get("default"),
            unit=input_schema.get("unit") or None,
            choices=input_schema.get("choices") or None,
            also=also if "also" in input_schema else None,
        ),
        min_occurs=int(required),
        max_occurs=1,
        description=input_schema.get("description") or None,
    )


def _column(output: Output, language: str) -> answers.Column:
    return answers.Column(
        title=output.title.to(language),
        shown=output.shown,
        unit=output.unit or None,
        description=output.definition.to(language) if output.definition else None,
        values={value: title.to(language) for value, title in output.values.items()} or None,
        parts={part.name: _column(part, language) for part in output.parts} or None,
        headline=output.headline or None,
    )


async def execute(request: Request) -> Response:
    """Run a process: at once, or as a job where the asker prefers that or it takes long."""
    row = _analysis(request)
    try:
        body = await request.json()
        inputs = dict(body.get("inputs", {}))
    except (ValueError, TypeError, AttributeError, RecursionError) as fault:
        raise BadRequest(say("body-must-json-member-inputs")) from fault
    await run_in_threadpool(check_parameters, row.name, inputs)
    state = context.of(request)
    job = await run_in_threadpool(submit, state, "analysis", row.name, inputs)
    if "respond-async" not in request.headers.get("prefer", ""):
        job_state = await run_in_threadpool(wait_for, state, job, SYNC_WAIT_S)
        if job_state.status == "successful":
            return await run_in_threadpool(_result, state, job)
        if job_state.finished is not None:
            raise error_of(job_state)
    job_state = await run_in_threadpool(read_job, state, job)
    return JSONResponse(status_of(job_state), 201, {"Location": address_of(job), "Preference-Applied": "respond-async"})


def _result(state: Context, job: UUID, form: str = "json") -> Response:
    """Answer a finished analysis' result in one of its forms."""
    computed = read_kept(state.store.settings, result_text(state, job))
    headers = {"Link": f'<{ASK.get().base_url}/ogc/jobs/{job}>; rel="monitor"'}
    if form in ("json", "geojson"):
        return Response(computed.dumps(), headers=headers, media_type=GEOJSON)
    if form == "png":
        return _picture(computed, headers)
    if f".{form}" == GLB:
        return _mesh(computed, state.store.city, headers)
    if f".{form}" not in FORMATS:
        raise BadRequest(say("no-such-form-of-result", form=form, formats=", ".join(suffix[1:] for suffix in SUFFIXES)))
    folder = tempfile.TemporaryDirectory(prefix="cim-result-")
    path = Path(folder.name) / f"{computed.analysis}.{form}"
    try:
        write_computed(computed, path)
    except BaseException:
        folder.cleanup()
        raise
    return FileResponse(path, filename=path.name, headers=headers, background=BackgroundTask(folder.cleanup))


def _picture(computed: Computed, headers: dict[str, str]) -> Response:
    """Answer a raster as a picture for a map, with the box of degrees that it covers in `Content-Bbox`."""
    legend = analysis(computed.analysis).declaration.legend
    if computed.raster is None or legend is None:
        raise BadRequest(say("result-no-raster"))
    picture, box = raster_picture(computed.raster, legend)
    headers |= {
        "Content-Bbox": ",".join(map(str, box)),
        "Content-Classes": ",".join(map(str, class_bounds(computed.raster.cells, legend))),
    }
    return Response(picture, headers=headers, media_type="image/png")


def _mesh(computed: Computed, city: City, headers: dict[str, str]) -> Response:
    """Answer bodies as a GLB; `Content-Place` says where its origin stands: longitude, latitude, ellipsoidal height."""
    mesh = mesh_of(computed, city)
    headers |= {
        "Content-Place": f"{mesh.lon},{mesh.lat},{mesh.height}",
        "Content-Disposition": f'attachment; filename="{computed.analysis}.glb"',
    }
    return Response(mesh.glb, headers=headers, media_type="model/gltf-binary")


def status_of(job: jobs.Job) -> dict[str, Any]:
    """Return the status document of a job."""
    base = address_of(job.job)
    links = [answers.Link(rel="self", type="application/json", href=f"{base}?f=json")]
    if job.status == "successful":
        rel = "http://www.opengis.net/def/rel/ogc/1.0/results"
        links.append(answers.Link(rel=rel, type=RESULT_TYPES[job.kind], href=f"{base}/results"))
        if job.kind == "analysis":  # the document is the landing page of its result as a collection, too
            links += [
                answers.Link(rel="data", type="application/json", href=f"{base}/collections"),
                answers.Link(rel="conformance", type="application/json", href=f"{base}/conformance"),
                answers.Link(rel="service-desc", type=OPENAPI, href=f"{ASK.get().base_url}/ogc/openapi"),
            ]
    row = analyses().get(job.name) if job.kind == "analysis" else None
    return answers.Job(
        job=str(job.job),
        process=job.name if job.kind == "analysis" else job.kind,
        title=row.title.to(ASK.get().language) if row else None,
        inputs=dict(job.parameters) if job.kind == "analysis" else None,
        type="process",
        status=cast("answers.Status", job.status),
        message=told(job.message, ASK.get().language),
        shared=job.shared,
        may_change=_may_change(job),
        progress=round(job.progress * 100),
        created=_moment(job.created),
        started=_moment(job.started),
        updated=_moment(job.updated),
        finished=_moment(job.finished),
        links=links,
    ).document()


def _moment(moment: Any) -> str | None:
    return moment.isoformat() if moment else None


def job_list(request: Request) -> Response:
    """Answer the asker's jobs; an admin's are everybody's."""
    state = context.of(request)
    with state.cursor() as cursor:
        visible_jobs = jobs.list_jobs(cursor, ASK.get().asker)
    links = [{"rel": "self", "type": "application/json", "href": f"{ASK.get().base_url}/ogc/jobs?f=json"}]
    return _answer(request, "processes/jobs.html", {"jobs": [status_of(job) for job in visible_jobs], "links": links})


def job(request: Request) -> Response:
    """Answer how a job stands; of an edit that is done, what became of it, too."""
    job = _of_asker(request)
    if job.kind == "analysis":
        _require(job, "read")
    document = status_of(job)
    if job.kind == "edit" and job.status == "successful":
        edited = json.loads(result_text(context.of(request), job.job))
        document["result"] = tell(edited, ASK.get().language)
        if document["result"]["action"] != "deleted":
            href = item_address(job.name, document["result"]["id"])
            document["links"].append({"rel": "item", "type": GEOJSON, "href": href})
    return _answer(request, "processes/job.html", document)


def item_address(layer: str, identifier: str) -> str:
    """Return where an object of a layer is."""
    return f"{ASK.get().base_url}/ogc/collections/{layer}/items/{quote(identifier, safe='')}"


def _of_asker(request: Request) -> jobs.Job:
    """Return a job that the asker may see: any analysis, and an edit of their own.

    Raises:
        NotFound: there is none of that id, or it is of another kind.
        UnknownKey: it is somebody's edit, and nobody has signed in.
        NotAllowed: it is another's edit.

    """
    job = read_job(context.of(request), jobs.parse_id(request.path_params["job"]))
    if job.kind not in RESULT_TYPES:
        raise NotFound(say("no-job", job=job.job))
    if job.kind == "edit":
        _require_own(job)
    return job


def _require_own(job: jobs.Job) -> None:
    account = ASK.get().require("viewer")
    if account.role != "admin" and account.name != job.asker.account:
        raise NotAllowed(say("job-not-yours", job=job.job))


def read_analysed(request: Request) -> jobs.Job:
    """Return the job of an analysis whose result the asker may read; whether there is one yet, its result says.

    Raises:
        NotFound: there is none of that id, or it is of another kind.
        NotAllowed: it is another's and isn't shared.
        CimError: it failed.

    """
    job = _of_asker(request)
    _require(job, "read")
    if job.kind != "analysis":
        raise NotFound(say("job-is-no-analysis", job=job.job))
    if job.status == "failed":
        raise error_of(job)
    return job


def job_results(request: Request) -> Response:
    """Answer the result of a finished job, in the form that `f` or the address's suffix says."""
    job = _of_asker(request)
    _require(job, "read")
    if job.status == "failed":
        raise error_of(job)
    if job.kind != "analysis":
        text = result_text(context.of(request), job.job)
        return Response(text, media_type=RESULT_TYPES[job.kind])
    form = request.path_params.get("form") or request.query_params.get("f", "json")
    return _result(context.of(request), job.job, form)


def dismiss(request: Request) -> Response:
    """Dismiss a job; the process that runs it is ended."""
    state = context.of(request)
    job = _of_asker(request)
    _require(job, "change")
    with state.cursor() as cursor:
        dismissed = jobs.dismiss(cursor, job.job)
    return JSONResponse(status_of(dismissed))


async def share(request: Request) -> Response:
    """Share a result with everybody, or take that back: `{"shared": true}`, by who may change it."""
    job = await run_in_threadpool(_of_asker, request)
    _require(job, "change")
    try:
        shared = (await request.json())["shared"]
    except (ValueError, TypeError, KeyError) as fault:
        raise BadRequest(say("body-must-shared")) from fault
    if not isinstance(shared, bool):
        raise BadRequest(say("body-must-shared"))

    def change() -> jobs.Job:
        with context.of(request).cursor() as cursor:
            return jobs.share(cursor, job.job, shared=shared)

    return JSONResponse(status_of(await run_in_threadpool(change)))


def _require(job: jobs.Job, to: Literal["read", "change"]) -> None:
    """Let only those through who may: a job of an account is its own and the admins'; a shared one is read by all.

    What nobody signed in for was computed from what everybody sees, and is who knows its address's; once it is shared,
    and so listed, it is changed from where it was asked for.

    Raises:
        NotAllowed: the asker may not.

    """
    if not _may_change(job) and not (to == "read" and job.shared):
        raise NotAllowed(say("job-not-yours", job=job.job))


def _may_change(job: jobs.Job) -> bool:
    asker = ASK.get().asker
    unlisted = job.asker.account is None and not job.shared  # its address is known to who was told it
    return asker.role == "admin" or asker.name == job.asker.name or unlisted


_PATHS: list[tuple[str, Callable[..., Any], str]] = [
    ("/ogc/processes", process_list, "GET"),
    ("/ogc/processes/{process}", process, "GET"),
    ("/ogc/processes/{process}/execution", execute, "POST"),
    ("/ogc/processes/{process}/execution", process, "GET"),  # who follows the link reads how to execute
    ("/ogc/jobs", job_list, "GET"),
    ("/ogc/jobs/{job}", job, "GET"),
    ("/ogc/jobs/{job}", dismiss, "DELETE"),
    ("/ogc/jobs/{job}", share, "PATCH"),
    ("/ogc/jobs/{job}/results", job_results, "GET"),
    ("/ogc/jobs/{job}/results.{form}", job_results, "GET"),
]
ROUTES = [
    Route(f"{path}{slash}", endpoint, methods=[method]) for path, endpoint, method in _PATHS for slash in ("", "/")
]
