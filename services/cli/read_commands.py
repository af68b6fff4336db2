"""What goes out: a layer as a file, what changed between two dates."""

import json
from datetime import datetime
from pathlib import Path

import click

from cim.config import read_settings
from services.cli.group import NEW_FILE, cli


@cli.command()
@click.argument("layer")
@click.option("-o", "--output", required=True, type=NEW_FILE, help="The suffix is the format.")
@click.option("--bbox", help="west,south,east,north in degrees.")
@click.option("--where", help="A filter in CQL2.")
@click.option("--at", help="Moment of city time: a date or a time.")
@click.option("--crs", help="EPSG:N of the file.")
def export(layer: str, output: Path, bbox: str | None, where: str | None, at: str | None, crs: str | None) -> None:
    """Write a layer as .gpkg, .parquet, .geojson, .csv or .city.jsonl, a raster as .tif."""
    from cim.errors import BadRequest
    from cim.store.connection import open_store
    from cim.write.export import Extract
    from cim.write.export import export as write
    from services.http.ask import moment

    with open_store(read_settings()) as store, store.connect() as connection, connection.cursor() as cursor:
        try:
            west, south, east, north = map(float, bbox.split(",")) if bbox else (0.0, 0.0, 0.0, 0.0)
        except ValueError as fault:
            raise BadRequest(f"--bbox {bbox}: west,south,east,north in degrees") from fault
        box = (west, south, east, north) if bbox else None
        extract = Extract(store.catalog.layer(layer), box, where, moment(at, store.city.clock), crs)
        count = write(cursor, store, extract, output)
    click.echo(f"{count} rows in {output}")


@cli.command()
@click.argument("layer")
@click.option("--from", "since", required=True, type=click.DateTime(["%Y-%m-%d"]), help="City time, start of the day.")
@click.option("--to", "until", required=True, type=click.DateTime(["%Y-%m-%d"]), help="City time, start of the day.")
@click.option("-o", "--output", type=NEW_FILE, help="A .gpkg; else counts alone.")
def diff(layer: str, since: datetime, until: datetime, output: Path | None) -> None:
    """Say what was added, removed and changed in a layer between two dates."""
    from cim.read.diff import difference, write_difference
    from cim.store.connection import open_store

    with open_store(read_settings()) as store, store.connect() as connection, connection.cursor() as cursor:
        begin, end = (store.city.clock.begins(moment.date()) for moment in (since, until))
        changes = difference(cursor, store.catalog.layer(layer), begin, end, store.city.srid)
    if output:
        write_difference(changes, output)
    click.echo(json.dumps(changes.summary(), ensure_ascii=False, indent=1))
