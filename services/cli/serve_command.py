"""The server."""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import click

from cim.config import read_settings
from cim.errors import CannotListen
from services.cli.group import cli


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


def _leave(number: int, _: object) -> None:
    """Leave as after Ctrl-C: no process and no database stays that isn't used."""
    sys.exit(128 + number)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
@click.option("--workers", default=1, show_default=True, help="Processes that answer.")
def serve(host: str, port: int, workers: int) -> None:
    """Serve viewer, tiles and OGC APIs until Ctrl-C."""
    from services.workers.supervisor import nursery_of, supervised

    _refuse_a_taken_port(host, port)
    settings = read_settings()
    with nursery_of(settings.worker_count) as nursery, ExitStack() as stack:
        signal.signal(signal.SIGTERM, _leave)  # of this process alone; uvicorn ends first, and raises it again
        import uvicorn

        from cim.store.connection import open_store
        from services.http.flow import Connection

        store = stack.enter_context(open_store(settings))  # keeps the database up while workers come and go
        shown = "localhost" if host in ("0.0.0.0", "::") else host  # noqa: S104 - only compared
        click.echo(f"{store.city.name}: http://{shown}:{port}/   (Ctrl-C ends)")
        with supervised(nursery, store), _figures_of(workers):
            uvicorn.run(
                "services.app:from_environment", factory=True, host=host, port=port, workers=workers,
                http=Connection, log_level="warning", timeout_graceful_shutdown=1,
            )  # fmt: skip
