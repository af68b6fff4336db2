"""The tile store."""

import click

from cim.config import read_settings
from services.cli.group import bar, cli


@cli.command()
@click.option("--layer", "layer_ids", multiple=True, help="Only these layers; may be given several times.")
@click.option("--changed", is_flag=True, help="Only what changed; fingerprints make sure of that in any case.")
@click.option("--prune", is_flag=True, help="Remove what no root reaches, after a day's grace.")
def tiles(layer_ids: tuple[str, ...], *, changed: bool, prune: bool) -> None:  # noqa: ARG001 - always incremental
    """Bring the tile store up to date: builds what isn't there, and nothing else."""
    from cim.store.connection import open_store
    from tiles.tilers import prune_store, run

    with open_store(read_settings()) as store:
        with bar() as report_progress:
            lines = list(
                run(
                    store,
                    layer_ids,
                    progress=lambda done, total: report_progress(done / total, f"{done}/{total} tiles"),
                )
            )
        click.echo("\n".join(lines))
        if prune:
            click.echo(f"pruned {prune_store(store)} files")
