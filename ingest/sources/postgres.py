"""A table or view of another PostgreSQL, described by a small file `NAME.pg.toml`, read by a server-side cursor.

    url = "postgresql://reader@host/database"     # ${NAME} stands for an environment variable, for passwords
    table = "public.v_hydrant"                    # or: query = "SELECT ..."
    id = "gid"                                    # the column that names a record; optional

One column of PostGIS' geometry is the shape, its SRID the CRS; a table without one holds records without places.
"""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import shapely
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import BaseModel, ConfigDict, ValidationError
from pyproj import CRS

from cim.errors import BadSettings, NoDatabase, UnreadableFile
from cim.features import BATCH_SIZE, Features, Header, ReadOptions, Source
from cim.messages import say
from cim.reference.crs import parse
from cim.store.connection import connect

_VARIABLE = re.compile(r"\$\{(\w+)\}")
CONNECT_S = 10


class Described(BaseModel):
    """What a `.pg.toml` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    table: str | None = None
    query: str | None = None
    id: str | None = None


def read(path: Path, options: ReadOptions) -> Iterator[Source]:  # noqa: ARG001 - a database says its encoding itself
    """Read a table of another database.

    Raises:
        BadSettings: the file doesn't describe a table.
        UnreadableFile: the database, or the table, can't be read.

    """
    described = _described(path)
    try:
        connection = connect(make_conninfo(substituted(described.url, path), connect_timeout=CONNECT_S))
        connection.read_only = True
    except (psycopg.Error, NoDatabase) as fault:
        raise UnreadableFile(say("no-connection-to-source", file=path, first_line=_first_line(fault))) from fault
    try:
        shape, srid = _shape_column(connection, described)
    except psycopg.Error as fault:
        connection.close()
        raise UnreadableFile(say("table-cannot-read", file=path, first_line=_first_line(fault))) from fault
    name = path.name.removesuffix(".pg.toml")
    header = Header(crs=_crs(srid), layer_hint=name, spatial=shape is not None)
    yield Source(header, _batches(connection, described, shape, path))


def _described(path: Path) -> Described:
    try:
        described = Described.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as fault:
        raise BadSettings(say("not-describe-table", file=path, reason=fault)) from fault
    if (described.table is None) == (described.query is None):
        raise BadSettings(say("either-table-query-says-what", file=path))
    return described


def substituted(text: str, path: Path) -> str:
    """Return a text with environment variables in the place of `${NAME}`.

    Raises:
        BadSettings: there is no such variable.

    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise BadSettings(say("no-environment-variable", file=path, match=match[1]))
        return os.environ[match[1]]

    return _VARIABLE.sub(value, text)


def _statement(described: Described) -> sql.Composable:
    if described.query is not None:
        return sql.SQL(described.query.rstrip().rstrip(";"))
    parts = (described.table or "").split(".")
    return sql.SQL("SELECT * FROM {}").format(sql.Identifier(*parts))


def _shape_column(connection: psycopg.Connection[Any], described: Described) -> tuple[str | None, int | None]:
    """Return the column of shapes, and the SRID of the first of them."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT * FROM ({}) t LIMIT 0").format(_statement(described)))
        columns = {c.name: c.type_code for c in cursor.description or ()}
        row = cursor.execute("SELECT oid FROM pg_type WHERE typname = 'geometry'").fetchone()
        shapes = [name for name, code in columns.items() if row and code == row[0]]
        if not shapes:
            return None, None
        column = sql.Identifier(shapes[0])
        srid_row = cursor.execute(
            sql.SQL("SELECT ST_SRID({0}) FROM ({1}) t WHERE {0} IS NOT NULL LIMIT 1").format(
                column, _statement(described)
            )
        ).fetchone()
    return shapes[0], srid_row[0] if srid_row else None


def _crs(srid: int | None) -> CRS | None:
    return parse(f"EPSG:{srid}") if srid else None


def _batches(
    connection: psycopg.Connection[Any], described: Described, shape: str | None, path: Path
) -> Iterator[Features]:
    columns: sql.Composable = sql.SQL("t.*")
    if shape is not None:
        columns = sql.SQL("t.*, ST_AsEWKB({}) AS {}").format(sql.Identifier(shape), sql.Identifier(_WKB))
    try:
        with connection, connection.cursor(name="cim_feed") as cursor:
            cursor.itersize = BATCH_SIZE
            cursor.execute(sql.SQL("SELECT {} FROM ({}) t").format(columns, _statement(described)))
            while rows := cursor.fetchmany(BATCH_SIZE):
                names = [c.name for c in cursor.description or ()]
                yield _features(names, rows, described, shape)
    except psycopg.Error as fault:
        raise UnreadableFile(say("table-cannot-read-to-end", file=path, first_line=_first_line(fault))) from fault


_WKB = "cim_wkb"


def _features(names: list[str], rows: list[tuple[Any, ...]], described: Described, shape: str | None) -> Features:
    attribute_columns = [(k, name) for k, name in enumerate(names) if name not in (shape, _WKB, described.id)]
    geometry = np.full(len(rows), None, object)
    if shape is not None:
        place = names.index(_WKB)
        geometry[:] = shapely.from_wkb([None if row[place] is None else bytes(row[place]) for row in rows])
    named = names.index(described.id) if described.id in names else None
    return Features(
        ids=[None if named is None or row[named] is None else str(row[named]) for row in rows],
        attributes=[{name: row[k] for k, name in attribute_columns} for row in rows],
        geometry=geometry,
        object_class=[None] * len(rows),
        parent_id=[None] * len(rows),
    )


def _first_line(fault: Exception) -> str:
    return next(iter(str(fault).strip().splitlines()), type(fault).__name__)
