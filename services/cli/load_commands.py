"""What comes in: loads, what became of them, and how they are taken back."""

import json
from datetime import datetime
from pathlib import Path

import click

from cim.config import read_settings
from services.cli.group import FILE, NEW_FILE, bar, cli


@cli.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--layer", help="Layer of all records, where nothing in the file tells.")
@click.option("--dataset", help="Name of the dataset; else the file's title or name.")
@click.option("--date", type=click.DateTime(["%Y-%m-%d"]), help="Survey date, from which the content is valid.")
@click.option("--crs", help="EPSG:N, GCJ-02, BD-09, or a file with WKT or PROJ text.")
@click.option("--vertical-datum", help="Datum of the heights: EPSG:N, ellipsoidal, or city (the city's own).")
@click.option("--encoding", help="Encoding of text, such as GBK.")
@click.option("--anchor", help="Where a model's origin stands: longitude,latitude,height.")
@click.option("--id-prefix", help="Put before each id, to tell datasets apart that use the same ids.")
@click.option("--complete", is_flag=True, default=None, help="The whole dataset: what is absent ends at its date.")
@click.option("--settings", "settings_file", type=FILE, help="A dataset.toml that can't lie beside the files.")
@click.option("--report", "report_file", type=NEW_FILE, help="Write the JSON report.")
def ingest(
    paths: tuple[Path, ...],
    settings_file: Path | None,
    report_file: Path | None,
    date: datetime | None,
    **options: object,
) -> int:
    """Load files or folders into the city, as one load that is whole or absent."""
    from cim.loads.quality import read_quality
    from cim.store.connection import open_store
    from ingest.delivery.declared import Declared, read_dataset_file
    from ingest.load.pipeline import ingest as load
    from services.cli.settings import how_to_give

    declared = Declared.model_validate(options | {"date": date.date() if date else None})
    with open_store(read_settings()) as store, bar() as report_progress:
        folder = read_dataset_file(settings_file) if settings_file else None
        report = load(store, list(paths), declared, folder, progress=report_progress)
        if report.load is not None:
            report_progress(1.0, "looking at the quality")
            with store.connect() as connection, connection.cursor() as cursor:
                report.quality = (read_quality(cursor, store, report.load) or {}).get("quality")
    if report_file:
        report_file.write_text(json.dumps(report.as_json(), ensure_ascii=False, indent=1), "utf-8")
    click.echo(report.summary(how_to_give))
    return report.exit_code


@cli.command()
@click.argument("clouds", nargs=-1)
@click.option("--cell", default=1.0, show_default=True, type=click.FloatRange(0.05, 100), help="Of rasters, in metres.")
def reconstruct(clouds: tuple[str, ...], cell: float) -> None:
    """Make terrain, surface, building heights and roofs of stored point CLOUDS (their ids), or of all."""
    from cim.store.connection import open_store
    from ingest.reconstruct import reconstruct as work

    with open_store(read_settings()) as store:
        with bar() as report_progress:
            outcome = work(store, clouds, cell, progress=report_progress)
        click.echo(outcome.summary())


@cli.command()
def loads() -> None:
    """List the loads of this city, the newest first: what came to which layers or what was edited, and by whom."""
    from cim.loads.load import list_loads
    from cim.store.connection import open_store

    with open_store(read_settings()) as store:
        for line in list_loads(store):
            click.echo(line)


@cli.command()
@click.argument("load", type=int)
@click.option("-o", "--output", required=True, type=NEW_FILE, help=".html to read, or .json.")
@click.option(
    "--lang", type=click.Choice(["zh", "en"]), default="zh", show_default=True, help="What the page opens in."
)
def quality(load: int, output: Path, lang: str) -> None:
    """Write the quality report of a load: counts, map, plots, and where rules are broken."""
    from cim.errors import NotFound
    from cim.loads.quality import read_quality
    from cim.messages import tell
    from cim.store.connection import open_store
    from services.http.quality_page import quality_page

    with open_store(read_settings()) as store, store.connect() as connection, connection.cursor() as cursor:
        load_record = read_quality(cursor, store, load)
        if load_record is None:
            raise NotFound(f"no load {load}; `cim loads` lists them")
        html = output.suffix.lower() in (".html", ".htm")
        text = (
            quality_page(load_record, store.city.name, lang)
            if html
            else json.dumps(tell(load_record, "en"), ensure_ascii=False, indent=1)
        )
    output.write_text(text, "utf-8")
    click.echo(f"load {load} → {output}")


@cli.command()
@click.argument("load", type=int, required=False)
@click.option("-o", "--output", type=NEW_FILE, help="A .gpkg to mend and load again.")
def quarantine(load: int | None, output: Path | None) -> None:
    """List the records that loads set aside, of one load or of all, or write them to a file."""
    from cim.loads.quarantine import hand_out, list_set_aside
    from cim.store.connection import open_store

    with open_store(read_settings()) as store, store.connect() as connection, connection.cursor() as cursor:
        if output:
            click.echo(f"{hand_out(cursor, store, output, load)} records in {output}")
            return
        for line in list_set_aside(cursor, load):
            click.echo(line)


@cli.command()
@click.argument("load", type=int)
def undo(load: int) -> None:
    """Take one load back: what it wrote ends to be known, what it replaced is known again."""
    from cim.loads.undo import undo as take_back
    from cim.store.connection import open_store

    with open_store(read_settings()) as store, store.connect() as connection, connection.cursor() as cursor:
        undone = take_back(cursor, store, load)
    for layer in {**undone.taken_back, **undone.restored}:
        taken, back = undone.taken_back.get(layer, 0), undone.restored.get(layer, 0)
        click.echo(f"{layer}: {taken} versions taken back, {back} known again")
    click.echo(f"load {load} is taken back; `cim tiles` brings the tiles up to date")
