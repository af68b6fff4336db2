"""The city itself: made, filled with a sample, examined."""

from pathlib import Path

import click

from cim.config import read_settings
from services.cli.group import FILE, cli


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
def doctor() -> int:
    """Say what is missing and how to get it."""
    from services.cli.doctor import examine

    findings = examine(read_settings())
    for finding in findings:
        click.echo(
            f"{'ok     ' if finding.fine else 'MISSING'} {finding.subject}{f': {finding.help}' if finding.help else ''}"
        )
    return 0 if all(finding.fine for finding in findings) else 1
