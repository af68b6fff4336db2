"""From a layer's declaration to its table: DDL, upgrade, and the lists of columns that reads and loads share.

All layer-shaped SQL is here and in `cim.store.merge`. Identifiers are quoted, values bound, SRIDs integer literals:
`ST_Transform(geom, 'EPSG:3857')` took 26 s where the integer form took 1.7 ms.
"""

from dataclasses import dataclass

from cim.catalog.common_columns import BY_NAME, COMMON_COLUMNS, CommonColumn, FieldType
from cim.catalog.model import Layer
from cim.store.row_policies import visible_rows

SQL_TYPE: dict[FieldType, str] = {
    "text": "text",
    "integer": "bigint",
    "number": "double precision",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamptz",
}


@dataclass(frozen=True)
class Column:
    """A column of a layer's table: its name, SQL type, and default."""

    name: str
    sql_type: str
    default: str = ""


def _of(*columns: CommonColumn) -> tuple[Column, ...]:
    return tuple(Column(column.name, column.sql_type, column.default) for column in columns)


# What a record brings beside its fields, in the order of the binary COPY; what an observation brings: whose value, and
# when; what the load brings, the same for all its records.
RECORD_COLUMNS = _of(*(column for column in COMMON_COLUMNS if column.brought_by == "record"))
OBSERVATION_COLUMNS = (
    *_of(BY_NAME["id"]),
    Column("feature", "text", "NOT NULL"),
    Column("time", "timestamptz", "NOT NULL"),
    *_of(*(c for c in COMMON_COLUMNS if c.brought_by == "record" and c.observed and c.name != "id")),
)
LOAD_COLUMNS = _of(*(column for column in COMMON_COLUMNS if column.brought_by == "load"))

ASSETS = "cim.asset"  # the table of whole files, which the layers of sheets share
# what stands in tiles, of every kind: what is known now, holds at some time, and may be seen by anybody
IN_TILES = "upper_inf(recorded) AND NOT isempty(valid) AND public"

# of cim.body, which all layers share
BODY_COLUMNS = (
    Column("hash", "bytea"),
    Column("closed", "boolean"),
    Column("z_min", "double precision"),
    Column("z_max", "double precision"),
    Column("volume", "double precision"),
    Column("faces", "bytea"),
)


def table(layer: Layer) -> str:
    """Return the quoted, qualified name of a layer's table."""
    return f'twin."{layer.id}"'


def box_text(box: tuple[float, float, float, float], srid: int) -> str:
    """Return a box in the city's CRS as text to bind: `v.geom && %(box)s::geometry`.

    A box that the statement computes, from a row or from parameters, is computed again for each row that it is held
    against: one building among 300,000 took 32 s.
    """
    xmin, ymin, xmax, ymax = box
    corners = ((xmin, ymin), (xmin, ymax), (xmax, ymax), (xmax, ymin), (xmin, ymin))
    return f"SRID={srid};POLYGON(({', '.join(f'{x!r} {y!r}' for x, y in corners)}))"


def field_columns(layer: Layer) -> tuple[Column, ...]:
    """Return the columns of a layer's own fields."""
    return tuple(Column(f.name, SQL_TYPE[f.type]) for f in layer.fields)


def record_columns(layer: Layer) -> tuple[Column, ...]:
    """Return the columns that one record brings, in the order of COPY."""
    common = OBSERVATION_COLUMNS if layer.observes else RECORD_COLUMNS
    return (*common, *field_columns(layer))


def create_features(layer: Layer, srid: int) -> list[str]:
    """Return the statements that make a layer's table, or bring an older one up to the catalog. Nothing is lost."""
    columns = ", ".join(f'"{c.name}" {c.sql_type} {c.default}' for c in (*record_columns(layer), *LOAD_COLUMNS))
    # geometry without a dimension modifier: a source without heights stays 2D, one with heights keeps them
    kind = (layer.geometry or "").upper()
    t, name = table(layer), layer.id
    indexes = [f'CREATE INDEX IF NOT EXISTS "{name}_{f.name}" ON {t} ("{f.name}")' for f in layer.fields if f.indexed]
    return [
        f"CREATE TABLE IF NOT EXISTS {t} (fid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        f" valid tstzrange NOT NULL, recorded tstzrange NOT NULL DEFAULT tstzrange(now(), NULL), {columns},"
        f" CONSTRAINT geom_type CHECK (ST_SRID(geom) = {srid} AND GeometryType(geom) = '{kind}'))",
        *_added_columns(layer),
        f'CREATE UNIQUE INDEX IF NOT EXISTS "{name}_current" ON {t} (id)'
        " WHERE upper_inf(recorded) AND upper_inf(valid)",
        f'CREATE INDEX IF NOT EXISTS "{name}_id" ON {t} (id, fid)',
        f'CREATE INDEX IF NOT EXISTS "{name}_geom" ON {t} USING gist (geom) WHERE upper_inf(recorded)',
        f'CREATE INDEX IF NOT EXISTS "{name}_load" ON {t} USING brin (load)',
        f'CREATE INDEX IF NOT EXISTS "{name}_parent" ON {t} (parent_id)'
        " WHERE parent_id IS NOT NULL AND upper_inf(recorded)",
        *indexes,
        _exclusion(name, t),
        *visible_rows(t),
        f"ALTER TABLE {t} ALTER COLUMN geom SET STORAGE EXTERNAL",
        f"COMMENT ON TABLE {t} IS {_literal(layer.title.zh + ' ' + layer.title.en)}",
    ]


def _added_columns(layer: Layer) -> list[str]:
    """Bring an older table up to the catalog: what later versions added is at the end of the columns."""
    later = {column.name for column in COMMON_COLUMNS if column.later}
    added = [*field_columns(layer), *(c for c in (*record_columns(layer), *LOAD_COLUMNS) if c.name in later)]
    t = table(layer)
    return [f'ALTER TABLE {t} ADD COLUMN IF NOT EXISTS "{c.name}" {c.sql_type} {c.default}' for c in added]


def create_observations(layer: Layer, srid: int) -> list[str]:  # noqa: ARG001 - one signature for all kinds
    """Return the statements that make the table of an observation layer: a value is valid at its one moment.

    The columns of a feature table that it lacks are there, empty, so that the reads of features are its reads too.
    """
    columns = ", ".join(f'"{c.name}" {c.sql_type} {c.default}' for c in (*record_columns(layer), *LOAD_COLUMNS))
    t, name = table(layer), layer.id
    return [
        f"CREATE TABLE IF NOT EXISTS {t} (fid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {columns},"
        " recorded tstzrange NOT NULL DEFAULT tstzrange(now(), NULL),"
        " valid tstzrange GENERATED ALWAYS AS (tstzrange(time, time, '[]')) STORED,"
        " geom geometry, lods text[], bodies bytea[], parent_id text, flags text[])",
        *_added_columns(layer),
        f'CREATE UNIQUE INDEX IF NOT EXISTS "{name}_current" ON {t} (id) WHERE upper_inf(recorded)',
        f'CREATE INDEX IF NOT EXISTS "{name}_series" ON {t} (feature, time) WHERE upper_inf(recorded)',
        f'CREATE INDEX IF NOT EXISTS "{name}_time" ON {t} USING brin (time)',
        *visible_rows(t),
        f"COMMENT ON TABLE {t} IS {_literal(layer.title.zh + ' ' + layer.title.en)}",
    ]


def create_sheets(layer: Layer, srid: int, suffix: str) -> list[str]:  # noqa: ARG001 - one signature for all kinds
    """Return the statements that show files (rasters, clouds) as a table of sheets, in a feature table's columns.

    So a sheet is described, dated and found at `/ogc` by the reads that features have; the file itself is an asset.
    Who asks sees the sheets of which they may see the asset: the view looks with the asker's eyes, not its owner's.
    """
    nulls = ", ".join(f"NULL::{c.sql_type} AS {c.name}" for c in RECORD_COLUMNS if c.name in _NOT_OF_SHEETS)
    about = f"about || jsonb_build_object('file', 'assets/' || sha256 || '{suffix}')"
    return [
        *visible_rows(ASSETS),
        f"CREATE OR REPLACE VIEW {table(layer)} WITH (security_invoker = true) AS"
        f" SELECT fid, valid, recorded, id, ST_Multi(footprint) AS geom,"
        f" {nulls}, {about} AS extra, decode(sha256, 'hex') AS content, {_literal(layer.class_code)} AS class_code,"
        f" {layer.cim_level}::smallint AS cim_level, dataset, load, public, source,"
        f" NULL::text AS record, surveyed FROM {ASSETS} WHERE layer = {_literal(layer.id)}",
    ]


_NOT_OF_SHEETS = ("lods", "bodies", "parent_id", "flags")


def _exclusion(name: str, t: str) -> str:
    """No two current versions of an id overlap. Over both axes of all rows: 15.9 s for 200,000 rows, not 1.3."""
    return (
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = '{name}_closed') THEN"
        f' ALTER TABLE {t} ADD CONSTRAINT "{name}_closed" EXCLUDE USING gist (id WITH =, valid WITH &&)'
        f" WHERE (upper_inf(recorded) AND NOT upper_inf(valid)); END IF; END $$"
    )


def overlaps(layer: Layer) -> str:
    """Return the query for pairs of current versions of one id that overlap; it must find none."""
    t = table(layer)
    return (
        f"SELECT a.id, a.fid, b.fid FROM {t} a JOIN {t} b ON a.id = b.id AND a.fid < b.fid AND a.valid && b.valid"
        f" WHERE upper_inf(a.recorded) AND upper_inf(b.recorded)"
    )


def grants(server: str) -> list[str]:
    """Return what the server's role may do: read the twin, queue jobs and dismiss them; keys it can't read."""
    return [
        f"GRANT USAGE ON SCHEMA cim, twin TO {server}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA cim, twin TO {server}",
        f"REVOKE ALL ON cim.account, cim.audit, cim.quarantine, cim.feed FROM {server}",
        f"GRANT INSERT, UPDATE ON cim.job TO {server}",
        f"ALTER ROLE {server} SET max_parallel_workers_per_gather = 0",  # each worker builds its own PROJ pipeline
    ]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
