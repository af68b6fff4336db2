"""The store: the one place that opens connections, to the private cluster or to a server of the city's.

`initialise` makes or upgrades the schema; `open_store` gives a `Store`, which knows its city and catalog and lends
connections as the owner (loads, tiles) or as the server's role (reads).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

import psycopg
import psycopg.errors
import psycopg.pq
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from cim.catalog.model import Catalog
from cim.catalog.read import read_catalog
from cim.city import YANGQUAN, City
from cim.config import Settings
from cim.errors import NoDatabase
from cim.messages import say
from cim.store import cluster, schema
from cim.store.kinds import kind_of

Role = Literal["owner", "server"]
EXTENSIONS = ("postgis", "btree_gist")
Connection = psycopg.Connection[Any]
Cursor = psycopg.Cursor[Any]
Pool = ConnectionPool[Connection]
LostConnection = psycopg.OperationalError
LockNotAvailable = psycopg.errors.LockNotAvailable
UnusableValue = psycopg.DataError  # PostgreSQL can't take a value that it was asked with, or divides by zero


@dataclass(frozen=True)
class Store:
    """An initialised store: its city, its catalog, and how to connect."""

    settings: Settings
    city: City
    catalog: Catalog
    url: str
    server_url: str

    @contextmanager
    def connect(self, role: Role = "owner") -> Iterator[Connection]:
        """Lend a connection for one transaction: committed when the block ends, rolled back on an error."""
        with session(self.url if role == "owner" else self.server_url) as connection:
            yield connection


def connect(url: str, *, autocommit: bool = False) -> Connection:
    """Connect, or say in one sentence why not.

    Raises:
        NoDatabase: the server doesn't answer or refuses the login.

    """
    try:
        return psycopg.connect(url, autocommit=autocommit, options="-c client_encoding=UTF8")
    except psycopg.OperationalError as fault:
        conninfo = conninfo_to_dict(url)
        if "does not exist" in str(fault):
            raise NoDatabase(say("database-holds-no-city-yet")) from fault
        where = f"{conninfo.get('dbname', '')} on {conninfo.get('host', 'localhost')} as {conninfo.get('user', '')}"
        raise NoDatabase(
            say("no-connection-database", file=where, splitlines=str(fault).strip().splitlines()[-1])
        ) from fault


@contextmanager
def session(url: str, *, autocommit: bool = False) -> Iterator[Connection]:
    """Lend a connection for one transaction: committed when the block ends, rolled back on an error.

    Raises:
        NoDatabase: the server doesn't answer, or goes away in the middle; nothing of the transaction stays then.

    """
    try:
        with connect(url, autocommit=autocommit) as connection:
            yield connection
    except LostConnection as fault:
        reason = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
        raise NoDatabase(say("database-went-away", reason=reason)) from fault


MOST_CONNECTIONS = 16  # for reads, of a process
WATCH_S = 5.0  # that a look at the database may take


@contextmanager
def open_pool(url: str) -> Iterator[Pool]:
    """Lend a pool of connections for reads, each statement its own transaction, for as long as the block runs."""
    with ConnectionPool(
        url, min_size=2, max_size=MOST_CONNECTIONS, open=True, kwargs={"prepare_threshold": 2, "autocommit": True}
    ) as pool:
        yield pool


@contextmanager
def open_watch_pool(url: str) -> Iterator[Pool]:
    """Lend a pool for looks at how the database does, which don't wait for those who read."""
    kwargs = {"autocommit": True, "options": f"-c statement_timeout={WATCH_S:g}s"}
    with ConnectionPool(
        url, min_size=1, max_size=2, open=True, timeout=WATCH_S, check=ConnectionPool.check_connection, kwargs=kwargs
    ) as pool:
        yield pool


def in_transaction(connection: Connection) -> bool:
    """Whether something was asked of a connection since its last commit."""
    return connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE


def see_as(cursor: Cursor, role: str) -> None:
    """Let the rest of a session see what a role sees; empty: what everybody sees. The policies of tables read it."""
    cursor.execute("SELECT set_config('cim.role', %s, false)", [role])


def notifications(connection: Connection, channels: Sequence[str], timeout_s: float) -> list[tuple[str, str]]:
    """Return (channel, payload) of what was announced since, after waiting at most so long for the first."""
    for channel in channels:
        connection.execute(f'LISTEN "{channel}"'.encode())
    return [(n.channel, n.payload) for n in connection.notifies(timeout=timeout_s, stop_after=1)]


@contextmanager
def owner_session(settings: Settings) -> Iterator[str]:
    """Give the owner's connection string to a database that need not hold a city yet, made if it isn't there."""
    with _database(settings, create=True) as (url, _):
        yield url


@contextmanager
def open_store(settings: Settings) -> Iterator[Store]:
    """Open the store, starting the private cluster if no URL is set; it stays up while the block runs.

    Raises:
        NoDatabase: the database can't be reached, or `cim init` hasn't run in it.

    """
    with _database(settings) as (url, server_url):
        with session(url) as connection:
            city = _stored_city(connection)
        yield Store(settings, city, read_catalog(city.catalog), url, server_url)


def initialise(settings: Settings, city: City | None = None) -> City:
    """Make the schema of a city, or upgrade an older one. Nothing is lost; may be called again at any time.

    Args:
        settings: where.
        city: which; None keeps the stored one, and a new store becomes Yangquan.

    Raises:
        NoDatabase: the database can't be reached, an extension needs a superuser, or it holds another city.

    """
    with _database(settings, create=True) as (url, server_url):
        with session(url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('cim.init'))")
            for file in sorted(files("cim.store.sql").iterdir(), key=lambda f: f.name):
                if file.name.endswith(".sql"):
                    cursor.execute(file.read_text("utf-8").encode())
            city = _settle_city(cursor, city)
            for layer in read_catalog(city.catalog).layers.values():
                for statement in kind_of(layer).create(layer, city.srid):
                    cursor.execute(statement.encode())
            server = conninfo_to_dict(server_url).get("user")
            if server and server_url != url:
                for statement in schema.grants(f'"{server}"')[:-1]:
                    cursor.execute(statement.encode())
        return city


@contextmanager
def _database(settings: Settings, *, create: bool = False) -> Iterator[tuple[str, str]]:
    """Give the connection strings of the owner and of the server, with the private cluster up if it is the one."""
    if settings.database_url:
        if create:
            _create_extensions(settings.database_url)
        yield settings.database_url, settings.serve_database_url or settings.database_url
        return
    with cluster.running(settings) as private:
        if create:
            _create_database(private)
        yield private.url(cluster.OWNER), private.url(cluster.SERVER)


def _create_database(private: cluster.Cluster) -> None:
    """Make roles, database and extensions of a private cluster, as its superuser."""
    with session(private.url(cluster.SUPERUSER, "postgres"), autocommit=True) as connection:
        for role in (cluster.OWNER, cluster.SERVER):
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                connection.execute(f"CREATE ROLE {role} LOGIN".encode())
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [cluster.DATABASE]).fetchone():
            connection.execute(f"CREATE DATABASE {cluster.DATABASE} OWNER {cluster.OWNER}".encode())
    superuser = private.url(cluster.SUPERUSER)
    _create_extensions(superuser)
    with session(superuser, autocommit=True) as connection:
        # without it a row-level policy turns the spatial index off: 0.4 ms → 105 ms on 1.2 M rows
        connection.execute("ALTER FUNCTION geometry_overlaps(geometry, geometry) LEAKPROOF")
        connection.execute(schema.grants(cluster.SERVER)[-1].encode())


def _create_extensions(url: str) -> None:
    with session(url, autocommit=True) as connection:
        present = {row[0] for row in connection.execute("SELECT extname FROM pg_extension")}
        for extension in EXTENSIONS:
            if extension in present:
                continue
            try:
                connection.execute(f"CREATE EXTENSION {extension}".encode())
            except psycopg.Error as fault:
                raise NoDatabase(
                    say("database-lacks-extension", extension=extension, reason=str(fault).strip())
                ) from fault


def _settle_city(cursor: psycopg.Cursor[Any], city: City | None) -> City:
    """Store the city, refusing to turn one city into another under its data."""
    cursor.execute("SELECT value FROM cim.setting WHERE key = 'city'")
    row = cursor.fetchone()
    stored = City.model_validate(row[0]) if row else None
    city = city or stored or YANGQUAN
    if stored and (stored.srid, stored.vertical_datum) != (city.srid, city.vertical_datum):
        raise NoDatabase(
            say("state-holds-epsg", stored=stored.name, srid=stored.srid, vertical_datum=stored.vertical_datum)
        )
    cursor.execute(
        "INSERT INTO cim.setting VALUES ('city', %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [Jsonb(city.model_dump(mode="json"))],
    )
    return city


def _stored_city(connection: Connection) -> City:
    try:
        row = connection.execute("SELECT value FROM cim.setting WHERE key = 'city'").fetchone()
    except psycopg.errors.UndefinedTable as fault:
        raise NoDatabase(say("database-holds-no-city-yet")) from fault
    if not row:
        raise NoDatabase(say("database-holds-no-city-yet"))
    return City.model_validate(row[0])
