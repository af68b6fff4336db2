"""What all commands share: the group they belong to, and a bar for those that take long."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

LONGEST_SAID = 60  # of what a bar says beside itself
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
NEW_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cim")
def cli() -> None:
    """City Information Model: files in, one dated 3D twin in PostGIS, 3D Tiles and OGC APIs out."""


@contextmanager
def bar() -> Iterator[Callable[[float, str], None]]:
    """Show a bar on a terminal while the block runs: told are the share that is done, and what is being done."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=1.0)
        yield lambda share, phase: bars.update(task, completed=share, description=phase[-LONGEST_SAID:])
