"""`cim doctor`: each thing the program needs, whether it is here, and the one command that brings it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from cim.config import Settings
from cim.errors import CimError, MissingProgram, NoDatabase
from cim.store import cluster, schema
from cim.store.connection import Store, open_store
from cim.store.kinds import kind_of


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    subject: str
    fine: bool
    help: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything, in the order in which it is needed."""
    findings = [_postgresql(settings), _viewer(), _converter()]
    if not findings[0].fine:
        return findings
    try:
        with open_store(settings) as store:
            findings += [Finding(f"database of {store.city.name}, EPSG:{store.city.srid}", fine=True), *_store(store)]
    except NoDatabase as error:
        findings.append(Finding("database", fine=False, help=str(error)))
    return findings


def _postgresql(settings: Settings) -> Finding:
    if settings.database_url:
        return Finding("PostgreSQL: a server of yours (CIM_DATABASE_URL)", fine=True)
    try:
        return Finding(f"PostgreSQL with PostGIS in {settings.pg_bin or cluster.find_pg_bin()}", fine=True)
    except MissingProgram as error:
        return Finding("PostgreSQL with PostGIS", fine=False, help=str(error))


def _viewer() -> Finding:
    index = Path(__file__).parents[1] / "static" / "viewer" / "index.html"
    return Finding("built viewer", fine=index.exists(), help="" if index.exists() else "make viewer")


def _converter() -> Finding:
    """Look for what OSGB needs; who has none of it misses nothing."""
    there = shutil.which("osgconv") is not None
    return Finding(
        "OpenSceneGraph's converter, for OSGB" if there else "no OSGB: apt install openscenegraph", fine=True
    )


def _store(store: Store) -> list[Finding]:
    """Look for versions that overlap, and for the mark without which row-level policies turn spatial indexes off."""
    findings = []
    try:
        with store.connect() as connection:
            for layer in filter(lambda row: kind_of(row).has_history, store.catalog.layers.values()):
                pairs = connection.execute(schema.overlaps(layer).encode()).fetchall()
                if pairs:
                    findings.append(Finding(f"{layer.id}: {len(pairs)} overlapping versions", fine=False))
            row = connection.execute(
                "SELECT bool_and(proleakproof) FROM pg_proc WHERE proname = 'geometry_overlaps'"
            ).fetchone()
    except CimError as error:
        return [Finding("store", fine=False, help=str(error))]
    fine = bool(row and row[0])
    statement = "ALTER FUNCTION geometry_overlaps(geometry, geometry) LEAKPROOF;"
    findings.append(
        Finding("geometry_overlaps is LEAKPROOF", fine=fine, help="" if fine else f"as superuser: {statement}")
    )
    return findings
