"""The command line: one function a command, each a few lines over the packages below.

Heavy modules are imported inside the commands: `cim --help` must answer in half a second.
"""

import sys

import click

from cim.errors import CimError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cim")
def cli() -> None:
    """City Information Model: files in, one dated 3D twin in PostGIS, 3D Tiles and OGC APIs out."""


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
