"""What the viewer's page is answered, declared once: doors build these, and the page's types are made from them.

`make docs` writes `services/viewer/src/generated.ts` from this module.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer
from pydantic.alias_generators import to_camel

from cim.catalog.common_columns import FieldType
from cim.catalog.model import Code, Geometry, KindName
from cim.catalog.row import Text
from cim.catalog.style import Style
from cim.store.kinds import Drawing

Box = tuple[float, float, float, float]  # west, south, east, north: degrees
Status = Literal["accepted", "running", "successful", "failed", "dismissed"]


class Answer(BaseModel):
    """An answer in JSON; a member whose default is None is left out where there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        absent = {
            spelling
            for name, field in type(self).model_fields.items()
            if not field.is_required() and getattr(self, name) is None
            for spelling in (name, field.alias)
        }
        return {name: value for name, value in handler(self).items() if name not in absent}

    def document(self) -> dict[str, Any]:
        """Return the answer as JSON has it."""
        return self.model_dump(mode="json", by_alias=True)


class Scene(Answer):
    """What of the page is named as JavaScript has it."""

    model_config = ConfigDict(alias_generator=to_camel)


# the catalogue tree: /viewer/catalog.json


class LayerField(Scene):
    """A field of a layer."""

    name: str
    title: Text
    type: FieldType
    unit: str | None
    codes: str | None  # a code list's id
    role: str | None
    additive: bool


class UnknownCode(Scene):
    """A value that its field's code list doesn't have, and how many objects have it."""

    field: str
    value: str
    count: int


class Layer(Scene):
    """A layer as the page shows it."""

    id: str
    kind: KindName
    geometry: Geometry | None
    observes: str | None  # the layer whose features' values over time this one holds
    role: str | None
    symbol: Literal["vegetation"] | None  # what stands for a point of it in 3D
    cim_level: int
    title: Text
    description: Text
    class_code: str
    order: int  # when draped: low lies below
    count: int
    bodies: bool  # there are 3D tiles of it at the moment that is shown
    drawing: Drawing | None  # by what it is drawn
    counted: bool
    takes_records: bool  # a table of a delivery can go into it
    fields: list[LayerField]
    unknown_codes: list[UnknownCode]
    style: Style


class City(Scene):
    """The city in its own terms."""

    name: str
    srid: int
    vertical_datum: str
    timezone: str  # by which its days begin


class DataClass(Scene):
    """The first step of the tree."""

    code: str
    title: Text


class KeyFigure(Scene):
    """A key figure of the city, at the moment that is shown."""

    layer: str
    title: Text
    unit: str | None
    value: float


class Catalog(Scene):
    """The catalogue tree, and what the page begins with."""

    city: City
    box: Box  # of what there is to look at, or of the city, or of where its reference system is used
    ground_height_m: float  # of the ground amid the box, over the ellipsoid; 0 where no terrain is shown
    classes: list[DataClass]
    code_lists: dict[str, list[Code]]
    layers: list[Layer]
    terrain: bool
    moments: list[str]  # at which tiles change
    figures: list[KeyFigure]
    tools: list[str]  # addresses of the modules that other packages bring, from the page's own


# what the page asks for beside tiles: /viewer/...


class Place(Scene):
    """A place on the globe in the city's plane coordinates."""

    srid: int
    x: float
    y: float
    anomaly: float  # metres: ellipsoidal height less the city's
    height: float | None = None  # in the city's datum


class Hit(Scene):
    """An object, or a coordinate, that some words name."""

    layer: str | None
    id: str | None
    text: str
    lon: float
    lat: float
    crs: str | None = None  # of words that are a coordinate


class Mark(Scene):
    """Where a sign or a label stands."""

    id: str
    lon: float
    lat: float
    text: str | None


class DatasetNote(Scene):
    """A dataset that a layer's content comes from."""

    name: str
    surveyed: str | None
    licence: str | None
    count: int


class Provenance(Answer):
    """Where an object's content comes from."""

    dataset: str | None
    surveyed: str | None
    licence: str | None
    load: int | None
    loaded: str | None
    valid_from: str | None
    valid_until: str | None
    flags: list[str] | None
    file: str | None
    file_table: str | None
    file_sha256: str | None
    record: str | None
    operator: str | None = None  # for who has signed in


class SeriesValues(Answer):
    """Values of a field by period."""

    mean: list[float | None]
    min: list[float | None]
    max: list[float | None]


class Series(Answer):
    """Values of one feature over time."""

    feature: str
    period: str
    times: list[str]
    counts: list[int]
    values: dict[str, SeriesValues]


# analyses: /ogc/processes, /ogc/jobs

# how members are spelled there where that isn't in the way of JavaScript
_SPELLED = {
    **{name: f"x-{name}" for name in ("choices", "also", "columns", "figures", "legend", "plots")},
    "unit": "x-ogc-unit",
    "value_colors": "x-value-colors",
    "unknown_color": "x-unknown-color",
    "accepts": "schema",
    "media_type": "contentMediaType",
    "job": "jobID",
    "process": "processID",
}


def _spelled(name: str) -> str:
    return _SPELLED.get(name) or to_camel(name)


class Described(Answer):
    """What OGC API names its own way, and what we add to it with `x-`."""

    model_config = ConfigDict(alias_generator=_spelled)


class Link(Answer):
    """A link of OGC API."""

    rel: str
    type: str
    href: str


class Choice(Answer):
    """A value that an input takes beside layers or fields."""

    value: str
    title: str
    role: str | None


class InputSchema(Described):
    """What an input takes, as JSON Schema, with what a form needs to know."""

    model_config = ConfigDict(extra="allow")

    type: str | None = None
    default: Any = None
    enum: list[str] | None = None
    unit: str | None = None
    choices: str | None = None
    also: list[Choice] | None = None


class Input(Described):
    """An input of a process."""

    title: str
    accepts: InputSchema
    min_occurs: int
    max_occurs: int
    description: str | None = None


class Column(Described):
    """What is declared of a column or figure, in the asker's language."""

    title: str
    shown: bool
    unit: str | None = None
    description: str | None = None
    values: dict[str, str] | None = None  # titles of the values that it can take
    parts: dict[str, "Column"] | None = None
    headline: bool | None = None


class Legend(Answer):
    """How a result is coloured."""

    column: str | None
    method: Literal["quantiles", "equal", "values"]
    ramp: list[str]
    classes: int


class Plot(Answer):
    """A column whose cells are lists, drawn as a line a row."""

    column: str
    title: str
    ticks: list[tuple[int, str]]


class Look(Described):
    """What a result is shown by."""

    columns: dict[str, Column]
    figures: dict[str, Column]
    legend: Legend | None
    value_colors: list[str]
    unknown_color: str
    plots: list[Plot]


class OutputSchema(Look):
    """The output of a process: GeoJSON, and how it is shown."""

    type: Literal["object"]
    media_type: str


class Output(Described):
    """The one output of a process."""

    title: str
    description: str
    accepts: OutputSchema


class Outputs(Answer):
    """The outputs of a process."""

    result: Output


class ProcessSummary(Described):
    """A process in the list."""

    id: str
    title: str
    description: str
    version: str
    job_control_options: list[str]
    output_transmission: list[str]
    links: list[Link]


class Process(ProcessSummary):
    """The description of a process."""

    inputs: dict[str, Input]
    outputs: Outputs


class ProcessList(Answer):
    """The processes."""

    processes: list[ProcessSummary]
    links: list[Link]


class Job(Described):
    """How a job stands."""

    job: str
    process: str
    title: str | None = None  # of the analysis, in the asker's language
    inputs: dict[str, Any] | None = None  # what an analysis was asked
    type: Literal["process"]
    status: Status
    message: str
    shared: bool  # everybody may read its result
    may_change: bool  # who asks may share and delete it
    progress: int  # percent
    created: str | None
    started: str | None
    updated: str | None
    finished: str | None
    links: list[Link]
    result: dict[str, Any] | None = None  # of an edit that is done


class JobList(Answer):
    """The asker's jobs."""

    jobs: list[Job]
    links: list[Link]


class Shape(Answer):
    """A geometry of GeoJSON."""

    type: str
    coordinates: Any = None
    geometries: list["Shape"] | None = None


class Feature(Answer):
    """A row of a result."""

    type: Literal["Feature"]
    id: str
    geometry: Shape | None
    properties: dict[str, Any]


class Check(Answer):
    """What an analysis verified of its own answer, with its quantities."""

    model_config = ConfigDict(extra="allow")

    passed: bool | None  # null: it couldn't be told
    what: str
    what_zh: str


class RasterNote(Answer):
    """What the raster of a result is."""

    rows: int
    columns: int
    crs: str
    transform: list[float]
    min: float | None
    max: float | None
    void: int
    sha256: str


class BodiesNote(Answer):
    """What the bodies of a result are."""

    count: int
    faces: int
    sha256: str


class Results(Answer):
    """The answer of an analysis: GeoJSON with figures, check and origin as further members."""

    model_config = ConfigDict(extra="allow")

    type: Literal["FeatureCollection"]
    features: list[Feature]
    check: Check
    computed_from: dict[str, Any]
    unknown: dict[str, Text] | None = None  # figure that can't be told → why
    notes: list[Text] | None = None  # what was repaired, left out or assumed
    raster: RasterNote | None = None
    bodies: BodiesNote | None = None
    drawn_by: str | None = None


# adding data: /viewer/uploads


class Queued(Answer):
    """A job that was queued."""

    job: str
    upload: str | None = None


class Warned(Answer):
    """A remark on records of a file."""

    warning: str
    count: int
    ids: list[str]


class FileNote(Answer):
    """What became of one file."""

    path: str
    layers: list[str]
    crs: str | None
    vertical_datum: str | None
    operation: str | None
    heights: str | None
    extent: Box | None
    read: int
    loaded: int
    updated: int
    unchanged: int
    ended: int
    refused: int
    warnings: list[Warned]
    reasons: dict[str, int]
    refused_ids: dict[str, list[str]]
    error: str | None
    setting: str | None = None  # that gives what the error misses
    seconds: float


class UploadReport(Answer):
    """The report of a load."""

    files: list[FileNote]
    load: int | None
    findings: list[str] | None = None


class Checked(Answer):
    """What the checks say of an upload, or what became of loading it."""

    upload: str
    acceptable: bool
    report: UploadReport
    preview: list[Shape]


class Undone(Answer):
    """What became of taking a load back, in versions by layer."""

    load: int
    taken_back: dict[str, int]
    restored: dict[str, int]


class UploadJob(Answer):
    """How a job of an upload stands."""

    status: Status
    message: str
    result: Checked | Undone | None


class Fault(Answer):
    """An error, in the form of RFC 9457."""

    type: str
    title: str  # of its kind
    status: int
    detail: str | None = None  # what, where, and what to do
    setting: str | None = None  # that would give what is missing


# in the order in which the page's types stand
ANSWERS: tuple[type[Answer], ...] = (
    *(Catalog, Place, Hit, Mark, DatasetNote, Provenance, Series),
    *(ProcessList, Look, Process, Job, JobList, Results),
    *(Queued, UploadJob, Fault),
)
