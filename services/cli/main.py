"""The command line: one function a command, each a few lines over the packages below.

Heavy modules are imported inside the commands: `cim --help` must answer in half a second.
"""

import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

import click

from cim.config import read_settings
from cim.errors import CannotListen, CimError

LONGEST_SAID = 60  # of what a bar says beside itself
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cim")
def cli() -> None:
    """City Information Model: files in, one dated 3D twin in PostGIS, 3D Tiles and OGC APIs out."""


@cli.command()
@click.option("--city", type=FILE, help="City file; without it the city is Yangquan, or stays what it is.")
def init(city: Path | None) -> None:
    """Create or upgrade the schema; starts the private cluster if no URL is set."""
    from cim.city import read_city
    from cim.store.connection import initialise

    settled = initialise(read_settings(), read_city(city) if city else None)
    click.echo(f"{settled.name}: EPSG:{settled.srid}, heights in {settled.vertical_datum}")


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--scale", type=click.Choice(["small", "district"]), default="small", show_default=True)
@click.option("--seed", default=1, show_default=True)
def sample(folder: Path, scale: str, seed: int) -> None:
    """Write a synthetic city as ordinary input files."""
    from sample_data.make_city import make_city

    files = make_city(folder, scale, seed)
    click.echo(f"{len(files)} files in {folder}")


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
@click.option("--report", "report_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the JSON report.")
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
    with open_store(read_settings()) as store, _bar() as told:
        folder = read_dataset_file(settings_file) if settings_file else None
        report = load(store, list(paths), declared, folder, progress=told)
        if report.load is not None:
            told(1.0, "looking at the quality")
            with store.connect() as connection, connection.cursor() as cursor:
                report.quality = (read_quality(cursor, store, report.load) or {}).get("quality")
    if report_file:
        report_file.write_text(json.dumps(report.as_json(), ensure_ascii=False, indent=1), "utf-8")
    click.echo(report.summary(how_to_give))
    return report.exit_code


@cli.command()
@click.option("--layer", "layer_ids", multiple=True, help="Only these layers; may be given several times.")
@click.option("--changed", is_flag=True, help="Only what changed; fingerprints make sure of that in any case.")
@click.option("--prune", is_flag=True, help="Remove what no root reaches, after a day's grace.")
def tiles(layer_ids: tuple[str, ...], *, changed: bool, prune: bool) -> None:  # noqa: ARG001 - always incremental
    """Bring the tile store up to date: builds what isn't there, and nothing else."""
    from cim.store.connection import open_store
    from tiles.tilers import prune_store, run

    with open_store(read_settings()) as store:
        with _bar() as told:
            lines = list(
                run(store, layer_ids, progress=lambda done, total: told(done / total, f"{done}/{total} tiles"))
            )
        click.echo("\n".join(lines))
        if prune:
            click.echo(f"pruned {prune_store(store)} files")


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
@click.option("--workers", default=1, show_default=True, help="Processes that answer.")
def serve(host: str, port: int, workers: int) -> None:
    """Serve viewer, tiles and OGC APIs until Ctrl-C."""
    import uvicorn

    from cim.store.connection import open_store
    from services.http.flow import Connection
    from services.workers.supervisor import supervised

    _refuse_a_taken_port(host, port)
    with open_store(read_settings()) as store:  # keeps the database up while workers come and go
        shown = "localhost" if host in ("0.0.0.0", "::") else host  # noqa: S104 - only compared
        click.echo(f"{store.city.name}: http://{shown}:{port}/   (Ctrl-C ends)")
        with supervised(store, store.settings.worker_count), _figures_of(workers):
            uvicorn.run(
                "services.app:from_environment", factory=True, host=host, port=port, workers=workers,
                http=Connection, log_level="warning", timeout_graceful_shutdown=1,
            )  # fmt: skip


@cli.command()
@click.argument("layer")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The suffix is the format."
)
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
@click.argument("name", required=False)
@click.option("--param", "given", multiple=True, metavar="KEY=VALUE", help="Number, text, JSON, or @FILE (JSON, CSV).")
@click.option("--replay", metavar="RESULT", help="A result (JSON file) or the id of a job: computed again as it was.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Else JSON to standard output.")
def analyse(name: str | None, given: tuple[str, ...], replay: str | None, output: Path | None) -> None:
    """Run an analysis on the city."""
    from cim.analysis.engine.registry import check_parameters
    from cim.analysis.engine.result_files import write_computed
    from cim.analysis.engine.run import analyse as compute
    from cim.analysis.engine.run import recorded_run
    from cim.store.connection import open_store
    from services.cli.key_values import read_parameters

    if (name is None) == (replay is None) or (replay and given):
        raise click.UsageError("the name of an analysis and its --param, or --replay RESULT alone")
    with open_store(read_settings()) as store, store.connect() as connection, connection.cursor() as cursor:
        if replay is not None:
            name, raw = recorded_run(cursor, replay)
        else:
            raw = read_parameters(given)
        check_parameters(str(name), raw)
        with _bar() as told:
            computed = compute(cursor, store, str(name), raw, told)
    if output is None:
        click.echo(computed.dumps())
        return
    write_computed(computed, output)
    click.echo(f"{len(computed.gdf)} rows in {output}; check: {computed.check.what.en}: {computed.check.passed}")


@cli.command()
def loads() -> None:
    """List the loads of this city, the newest first: what came to which layers or what was edited, and by whom."""
    from cim.loads.load import list_loads
    from cim.store.connection import open_store

    with open_store(read_settings()) as store:
        for line in list_loads(store):
            click.echo(line)


@cli.command()
@click.argument("layer")
@click.option("--from", "since", required=True, type=click.DateTime(["%Y-%m-%d"]), help="City time, start of the day.")
@click.option("--to", "until", required=True, type=click.DateTime(["%Y-%m-%d"]), help="City time, start of the day.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A .gpkg; else counts alone.")
def diff(layer: str, since: datetime, until: datetime, output: Path | None) -> None:
    """Say what was added, removed and changed in a layer between two dates."""
    from cim.read.diff import difference, write_difference
    from cim.store.connection import open_store

    with open_store(read_settings()) as store, store.connect() as connection, connection.cursor() as cursor:
        begin, end = (store.city.clock.begins(moment.date()) for moment in (since, until))
        found = difference(cursor, store.catalog.layer(layer), begin, end, store.city.srid)
    if output:
        write_difference(found, output)
    click.echo(json.dumps(found.summary(), ensure_ascii=False, indent=1))


@cli.command()
@click.argument("load", type=int, required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A .gpkg to mend and load again.")
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
@click.argument("clouds", nargs=-1)
@click.option("--cell", default=1.0, show_default=True, type=click.FloatRange(0.05, 100), help="Of rasters, in metres.")
def reconstruct(clouds: tuple[str, ...], cell: float) -> None:
    """Make terrain, surface, building heights and roofs of stored point CLOUDS (their ids), or of all."""
    from cim.store.connection import open_store
    from ingest.reconstruct import reconstruct as work

    with open_store(read_settings()) as store:
        with _bar() as told:
            outcome = work(store, clouds, cell, progress=told)
        click.echo(outcome.summary())


@cli.command()
@click.argument("load", type=int)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help=".html to read, or .json."
)
@click.option(
    "--lang", type=click.Choice(["zh", "en"]), default="zh", show_default=True, help="What the page opens in."
)
def quality(load: int, output: Path, lang: str) -> None:
    """Write the quality report of a load: counts, map, plots, and where rules are broken."""
    from cim.errors import NotFound
    from cim.loads.quality import read_quality
    from cim.store.connection import open_store
    from services.http.quality_page import quality_page

    with open_store(read_settings()) as store, store.connect() as connection, connection.cursor() as cursor:
        known = read_quality(cursor, store, load)
        if known is None:
            raise NotFound(f"no load {load}; `cim loads` lists them")
        html = output.suffix.lower() in (".html", ".htm")
        said = quality_page(known, store.city.name, lang) if html else json.dumps(known, ensure_ascii=False, indent=1)
    output.write_text(said, "utf-8")
    click.echo(f"load {load} → {output}")


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


@cli.group()
def feeds() -> None:
    """Load sources on a schedule (feeds.toml): another database, a URL, a drop folder."""


@feeds.command("list")
def feeds_list() -> None:
    """Say of each when it ran and what came of it."""
    from cim.store.connection import open_store
    from ingest.sources.feeds import list_feeds

    settings = read_settings()
    with open_store(settings) as store, store.connect() as connection, connection.cursor() as cursor:
        for line in list_feeds(cursor, settings.feeds_file, store.city.clock):
            click.echo(line)


@feeds.command("run")
@click.argument("names", nargs=-1)
def feeds_run(names: tuple[str, ...]) -> int:
    """Run the feeds that are due, or those NAMED; `cim serve` does so by itself."""
    from cim.store.connection import open_store
    from ingest.sources.feeds import Ran, run_due

    settings = read_settings()
    failed = []

    def told(ran: Ran) -> None:
        failed.append(ran.failed)
        click.echo(f"{ran.name}: {ran.said}")

    with open_store(settings) as store:
        run_due(store, settings.feeds_file, names=names, told=told)
    return 1 if any(failed) and all(failed) else 3 if any(failed) else 0


@cli.group()
def user() -> None:
    """Who may sign in, and in which role."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["viewer", "editor", "admin"]), default="viewer", show_default=True)
def user_add(name: str, role: Literal["viewer", "editor", "admin"]) -> None:
    """Add a user, or give one another role and a new key. The key is shown once."""
    from cim.access.accounts import add_account
    from cim.access.audit import note
    from cim.store.connection import open_store

    with open_store(read_settings()) as store, store.connect() as connection, connection.cursor() as cursor:
        key = add_account(cursor, name, role)
        note(cursor, "user added", identifier=name, detail={"role": role})
    click.echo(f"{name} is {role}. The key, as header X-API-Key or as the password of Basic:", err=True)
    click.echo(key)


@user.command("list")
def user_list() -> None:
    """List the users."""
    from cim.access.accounts import list_accounts
    from cim.store.connection import open_store

    with open_store(read_settings()) as store, store.connect() as connection, connection.cursor() as cursor:
        for name, role, created in list_accounts(cursor):
            click.echo(f"{name}  {role}  since {store.city.clock.day(created)}")


@user.command("remove")
@click.argument("name")
def user_remove(name: str) -> None:
    """Remove a user."""
    from cim.access.accounts import remove_account
    from cim.access.audit import note
    from cim.store.connection import open_store

    with open_store(read_settings()) as store, store.connect() as connection, connection.cursor() as cursor:
        remove_account(cursor, name)
        note(cursor, "user removed", identifier=name)
    click.echo(f"{name} is removed")


@cli.group()
def db() -> None:
    """Start, stop, look at, save and bring back the database."""


@db.command("start")
def db_start() -> None:
    """Start it, and let it stay up until `cim db stop`."""
    from cim.store import cluster

    settings = read_settings()
    private = cluster.locate(settings)
    cluster.keep_up(settings, keep=True)
    cluster.start(private)
    click.echo(f"up: {private.url(cluster.OWNER)}")


@db.command("stop")
def db_stop() -> None:
    """Stop it; work under way is rolled back."""
    from cim.store import cluster

    settings = read_settings()
    cluster.keep_up(settings, keep=False)
    cluster.stop(cluster.locate(settings))
    click.echo("stopped")


@db.command("status")
def db_status() -> int:
    """Say whether it is up, and where it lies."""
    from cim.store import cluster

    private = cluster.locate(read_settings())
    up = private.data.exists() and cluster.is_up(private)
    click.echo(f"{'up' if up else 'down'}: {private.folder}")
    return 0 if up else 1


@db.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def db_backup(file: Path) -> None:
    """Write the whole twin to FILE; it may be in use meanwhile. Tiles are left out: `cim tiles` rebuilds them."""
    from cim.store.backup import backup

    saved = backup(read_settings(), file.absolute())
    versions = sum(saved["versions"].values())
    click.echo(f"{saved['city']}: {versions} versions in {len(saved['versions'])} layers → {file}")


@db.command("restore")
@click.argument("file", type=FILE)
def db_restore(file: Path) -> None:
    """Bring the twin of FILE into a state that holds none; then run `cim tiles`."""
    from cim.store.backup import restore

    saved = restore(read_settings(), file)
    click.echo(f"{saved['city']}, saved {saved['saved']}: back; `cim tiles` builds its tiles")


@db.command("upgrade")
def db_upgrade() -> None:
    """Move the private cluster from an older PostgreSQL to the installed one; the old one is kept beside it."""
    from cim.store.backup import upgrade

    kept = upgrade(read_settings())
    click.echo(f"moved; the old cluster is kept in {kept}; `cim tiles` builds the tiles")


@cli.command()
def doctor() -> int:
    """Say what is missing and how to get it."""
    from services.cli.doctor import examine

    findings = examine(read_settings())
    for finding in findings:
        click.echo(
            f"{'ok     ' if finding.fine else 'MISSING'} {finding.what}{f': {finding.help}' if finding.help else ''}"
        )
    return 0 if all(finding.fine for finding in findings) else 1


def _refuse_a_taken_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as fault:
            raise CannotListen(
                f"port {port} of {host} can't be used ({fault.strerror}): --port NUMBER, or make run PORT=NUMBER"
            ) from fault


@contextmanager
def _figures_of(workers: int) -> Iterator[None]:
    """Give several processes that answer a folder in which they add up their figures."""
    if workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="cim-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


@contextmanager
def _bar() -> Iterator[Callable[[float, str], None]]:
    """Show a bar on a terminal while the block runs: told are the share that is done, and what is being done."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=1.0)
        yield lambda share, what: bars.update(task, completed=share, description=what[-LONGEST_SAID:])


def main() -> None:
    """Run the command line; an error of ours is one message and its exit code, never a traceback."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as usage:
        usage.show()
        sys.exit(usage.exit_code)
    except click.Abort:
        sys.exit(130)
    except CimError as error:
        click.echo(f"cim: {error}", err=True)
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)
