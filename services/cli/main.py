"""The command line: one function a command, a module a noun, each a few lines over the packages below.

Heavy modules are imported inside the commands: `cim --help` must answer in half a second.
"""

import sys

import click

from cim.errors import CimError
from services.cli import (
    account_commands,
    analysis_commands,
    city_commands,
    database_commands,
    feed_commands,
    load_commands,
    read_commands,
    serve_command,
    tile_commands,
)
from services.cli.group import cli

__all__ = ["cli", "main"]
NOUNS = (  # each brings its commands into the group when it is imported
    city_commands, load_commands, feed_commands, tile_commands, serve_command, read_commands, analysis_commands,
    account_commands, database_commands,
)  # fmt: skip


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
