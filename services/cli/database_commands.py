"""The database under the city."""

from pathlib import Path

import click

from cim.config import read_settings
from services.cli.group import FILE, NEW_FILE, cli


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
@click.argument("file", type=NEW_FILE)
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

    old_cluster = upgrade(read_settings())
    click.echo(f"moved; the old cluster is kept in {old_cluster}; `cim tiles` builds the tiles")
