"""Sources that are loaded on a schedule."""

import click

from cim.config import read_settings
from services.cli.group import cli


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
        click.echo(f"{ran.name}: {ran.outcome}")

    with open_store(settings) as store:
        run_due(store, settings.feeds_file, names=names, report_run=told)
    return 1 if any(failed) and all(failed) else 3 if any(failed) else 0
