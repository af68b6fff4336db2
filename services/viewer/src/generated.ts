// Made from services/http/answers.py by `make docs`; change the models, not this file.

/** The city in its own terms. */
export type City = {
  name: string;
  srid: number;
  verticalDatum: string;
  timezone: string;
};

/** A text in the two languages of the planner. */
export type Text = {
  zh: string;
  en: string;
};

/** The first step of the tree. */
export type DataClass = {
  code: string;
  title: Text;
};

/** One value of a code list. */
export type Code = {
  value: string;
  title: Text;
  color: string | null;
  closed_to: string[];
  aliases: string[];
};

/** A field of a layer. */
export type LayerField = {
  name: string;
  title: Text;
  type: "text" | "integer" | "number" | "boolean" | "date" | "timestamp";
  unit: string | null;
  codes: string | null;
  role: string | null;
  additive: boolean;
};

/** A value that its field's code list doesn't have, and how many objects have it. */
export type UnknownCode = {
  field: string;
  value: string;
  count: number;
};

/** How a layer is drawn; every client's style derives from it. */
export type Style = {
  visible: boolean;
  fill: string | null;
  stroke: string | null;
  stroke_width_px: number;
  dash_px: number[];
  casing: string | null;
  color_by: string | null;
  default_width_m: number;
  grain: boolean;
  label: string | null;
  label_color: string;
  label_from_m: number;
  glyph: string;
  icon_from_m: number;
  rank: number;
};

/** A layer as the page shows it. */
export type Layer = {
  id: string;
  kind: "feature" | "raster" | "points" | "tileset" | "observation";
  geometry: "MultiPolygon" | "MultiLineString" | "Point" | null;
  observes: string | null;
  role: string | null;
  symbol: "vegetation" | null;
  cimLevel: number;
  title: Text;
  description: Text;
  classCode: string;
  order: number;
  count: number;
  bodies: boolean;
  drawing: "features" | "ground" | "cloud" | "sets" | null;
  counted: boolean;
  takesRecords: boolean;
  fields: LayerField[];
  unknownCodes: UnknownCode[];
  style: Style;
};

/** A key figure of the city, at the moment that is shown. */
export type KeyFigure = {
  layer: string;
  title: Text;
  unit: string | null;
  value: number;
};

/** The catalogue tree, and what the page begins with. */
export type Catalog = {
  city: City;
  box: [number, number, number, number];
  groundHeightM: number;
  classes: DataClass[];
  codeLists: Record<string, Code[]>;
  layers: Layer[];
  terrain: boolean;
  moments: string[];
  figures: KeyFigure[];
  tools: string[];
};

/** A place on the globe in the city's plane coordinates. */
export type Place = {
  srid: number;
  x: number;
  y: number;
  anomaly: number;
  height?: number;
};

/** An object, or a coordinate, that some words name. */
export type Hit = {
  layer: string | null;
  id: string | null;
  text: string;
  lon: number;
  lat: number;
  crs?: string;
};

/** Where a sign or a label stands. */
export type Mark = {
  id: string;
  lon: number;
  lat: number;
  text: string | null;
};

/** A dataset that a layer's content comes from. */
export type DatasetNote = {
  name: string;
  surveyed: string | null;
  licence: string | null;
  count: number;
};

/** Where an object's content comes from. */
export type Provenance = {
  dataset: string | null;
  surveyed: string | null;
  licence: string | null;
  load: number | null;
  loaded: string | null;
  valid_from: string | null;
  valid_until: string | null;
  flags: string[] | null;
  file: string | null;
  file_table: string | null;
  file_sha256: string | null;
  record: string | null;
  operator?: string;
};

/** Values of a field by period. */
export type SeriesValues = {
  mean: (number | null)[];
  min: (number | null)[];
  max: (number | null)[];
};

/** Values of one feature over time. */
export type Series = {
  feature: string;
  period: string;
  times: string[];
  counts: number[];
  values: Record<string, SeriesValues>;
};

/** A link of OGC API. */
export type Link = {
  rel: string;
  type: string;
  href: string;
};

/** A process in the list. */
export type ProcessSummary = {
  id: string;
  title: string;
  description: string;
  version: string;
  jobControlOptions: string[];
  outputTransmission: string[];
  links: Link[];
};

/** The processes. */
export type ProcessList = {
  processes: ProcessSummary[];
  links: Link[];
};

/** What is declared of a column or figure, in the asker's language. */
export type Column = {
  title: string;
  shown: boolean;
  "x-ogc-unit"?: string;
  description?: string;
  values?: Record<string, string>;
  parts?: Record<string, Column>;
  headline?: boolean;
};

/** How a result is coloured. */
export type Legend = {
  column: string | null;
  method: "quantiles" | "equal" | "values";
  ramp: string[];
  classes: number;
};

/** A column whose cells are lists, drawn as a line a row. */
export type Plot = {
  column: string;
  title: string;
  ticks: [number, string][];
};

/** What a result is shown by. */
export type Look = {
  "x-columns": Record<string, Column>;
  "x-figures": Record<string, Column>;
  "x-legend": Legend | null;
  "x-value-colors": string[];
  "x-unknown-color": string;
  "x-plots": Plot[];
};

/** A value that an input takes beside layers or fields. */
export type Choice = {
  value: string;
  title: string;
  role: string | null;
};

/** What an input takes, as JSON Schema, with what a form needs to know. */
export type InputSchema = {
  type?: string;
  default?: unknown;
  enum?: string[];
  "x-ogc-unit"?: string;
  "x-choices"?: string;
  "x-also"?: Choice[];
  [member: string]: unknown;
};

/** An input of a process. */
export type Input = {
  title: string;
  schema: InputSchema;
  minOccurs: number;
  maxOccurs: number;
  description?: string;
};

/** The output of a process: GeoJSON, and how it is shown. */
export type OutputSchema = {
  "x-columns": Record<string, Column>;
  "x-figures": Record<string, Column>;
  "x-legend": Legend | null;
  "x-value-colors": string[];
  "x-unknown-color": string;
  "x-plots": Plot[];
  type: "object";
  contentMediaType: string;
};

/** The one output of a process. */
export type Output = {
  title: string;
  description: string;
  schema: OutputSchema;
};

/** The outputs of a process. */
export type Outputs = {
  result: Output;
};

/** The description of a process. */
export type Process = {
  id: string;
  title: string;
  description: string;
  version: string;
  jobControlOptions: string[];
  outputTransmission: string[];
  links: Link[];
  inputs: Record<string, Input>;
  outputs: Outputs;
};

/** How a job stands. */
export type Job = {
  jobID: string;
  processID: string;
  title?: string;
  inputs?: Record<string, unknown>;
  type: "process";
  status: "accepted" | "running" | "successful" | "failed" | "dismissed";
  message: string;
  shared: boolean;
  mayChange: boolean;
  progress: number;
  created: string | null;
  started: string | null;
  updated: string | null;
  finished: string | null;
  links: Link[];
  result?: Record<string, unknown>;
};

/** The asker's jobs. */
export type JobList = {
  jobs: Job[];
  links: Link[];
};

/** A geometry of GeoJSON. */
export type Shape = {
  type: string;
  coordinates?: unknown;
  geometries?: Shape[];
};

/** A row of a result. */
export type Feature = {
  type: "Feature";
  id: string;
  geometry: Shape | null;
  properties: Record<string, unknown>;
};

/** What an analysis verified of its own answer, with its quantities. */
export type Check = {
  passed: boolean | null;
  what: string;
  what_zh: string;
  [member: string]: unknown;
};

/** What the raster of a result is. */
export type RasterNote = {
  rows: number;
  columns: number;
  crs: string;
  transform: number[];
  min: number | null;
  max: number | null;
  void: number;
  sha256: string;
};

/** What the bodies of a result are. */
export type BodiesNote = {
  count: number;
  faces: number;
  sha256: string;
};

/** The answer of an analysis: GeoJSON with figures, check and origin as further members. */
export type Results = {
  type: "FeatureCollection";
  features: Feature[];
  check: Check;
  computed_from: Record<string, unknown>;
  unknown?: Record<string, Text>;
  notes?: Text[];
  raster?: RasterNote;
  bodies?: BodiesNote;
  drawn_by?: string;
  [member: string]: unknown;
};

/** A job that was queued. */
export type Queued = {
  job: string;
  upload?: string;
};

/** A remark on records of a file. */
export type Warned = {
  warning: string;
  count: number;
  ids: string[];
};

/** What became of one file. */
export type FileNote = {
  path: string;
  layers: string[];
  crs: string | null;
  vertical_datum: string | null;
  operation: string | null;
  heights: string | null;
  extent: [number, number, number, number] | null;
  read: number;
  loaded: number;
  updated: number;
  unchanged: number;
  ended: number;
  refused: number;
  warnings: Warned[];
  reasons: Record<string, number>;
  refused_ids: Record<string, string[]>;
  error: string | null;
  setting?: string;
  seconds: number;
};

/** The report of a load. */
export type UploadReport = {
  files: FileNote[];
  load: number | null;
  findings?: string[];
};

/** What the checks say of an upload, or what became of loading it. */
export type Checked = {
  upload: string;
  acceptable: boolean;
  report: UploadReport;
  preview: Shape[];
};

/** What became of taking a load back, in versions by layer. */
export type Undone = {
  load: number;
  taken_back: Record<string, number>;
  restored: Record<string, number>;
};

/** How a job of an upload stands. */
export type UploadJob = {
  status: "accepted" | "running" | "successful" | "failed" | "dismissed";
  message: string;
  result: Checked | Undone | null;
};

/** An error, in the form of RFC 9457. */
export type Fault = {
  type: string;
  title: string;
  status: number;
  detail?: string;
  setting?: string;
};
