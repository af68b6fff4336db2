"""Analyses."""

from pathlib import Path

import click

from cim.config import read_settings
from services.cli.group import NEW_FILE, bar, cli


@cli.command()
@click.argument("name", required=False)
@click.option("--param", "given", multiple=True, metavar="KEY=VALUE", help="Number, text, JSON, or @FILE (JSON, CSV).")
@click.option("--replay", metavar="RESULT", help="A result (JSON file) or the id of a job: computed again as it was.")
@click.option("-o", "--output", type=NEW_FILE, help="Else JSON to standard output.")
def analyse(name: str | None, given: tuple[str, ...], replay: str | None, output: Path | None) -> None:
    """Run an analysis on the city."""
    from cim.analysis.engine.registry import check_parameters
    from cim.analysis.engine.run import analyse as compute
    from cim.analysis.engine.run import recorded_run
    from cim.store.connection import open_store
    from services.cli.key_values import read_parameters
    from services.http.result_forms import write_result

    if (name is None) == (replay is None) or (replay and given):
        raise click.UsageError("the name of an analysis and its --param, or --replay RESULT alone")
    with open_store(read_settings()) as store, store.connect() as connection, connection.cursor() as cursor:
        if replay is not None:
            name, raw = recorded_run(cursor, replay)
        else:
            raw = read_parameters(given)
        check_parameters(str(name), raw)
        with bar() as report_progress:
            computed = compute(cursor, store, str(name), raw, report_progress)
    if output is None:
        click.echo(computed.dumps())
        return
    write_result(computed, output, store.city)
    click.echo(f"{len(computed.gdf)} rows in {output}; check: {computed.check.statement.en}: {computed.check.passed}")
