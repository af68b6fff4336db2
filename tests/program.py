"""The command line and the server as processes, forked from one that has imported them.

They do what `python -m services …` does, in a process of its own, without the seconds that its imports take. What a
process imports and how it starts is tested with `sys.executable`.
"""

import importlib
import os
import pkgutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import cim.analysis
from cim.concurrency.process_pool import without_main
from services.workers import worker

_CONTEXT = get_context("forkserver")


def get_ready() -> None:
    """Start the process that the others are forks of, beside what this one does meanwhile."""
    _CONTEXT.set_forkserver_preload(["tests.program", "services.app", "uvicorn", *worker.IMPORTED, *_analyses()])
    forkserver.ensure_running()


def _analyses() -> list[str]:
    families = pkgutil.walk_packages(cim.analysis.__path__, "cim.analysis.")
    return [module.name for module in families if not module.ispkg]


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def started(
    words: Sequence[str],
    environment: Mapping[str, str],
    folder: Path | None = None,
    printed: Path | None = None,
    *,
    session: bool = False,
) -> ForkServerProcess:
    """Start `cim WORDS`.

    Args:
        words: the command.
        environment: all of it.
        folder: where it runs; here, if none is given.
        printed: a folder for what it prints, in files `out` and `err`.
        session: whether it leads a session, whose processes can be killed together.

    """
    order = (list(words), dict(environment), folder or Path.cwd(), printed, session)
    process = _CONTEXT.Process(target=_be, args=order)
    with without_main():
        process.start()
    return process


def cim_command(words: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> Ran:
    """Run `cim WORDS` to its end."""
    with tempfile.TemporaryDirectory() as printed:
        process = started(words, environment, folder, Path(printed))
        process.join()
        out, err = ((Path(printed) / name).read_text("utf-8") for name in ("out", "err"))
        return Ran(process.exitcode or 0, out, err)


def _be(words: list[str], environment: Mapping[str, str], folder: Path, printed: Path | None, session: bool) -> None:
    if session:
        os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if paths := environment.get("PYTHONPATH"):
        sys.path[:0] = paths.split(os.pathsep)
        importlib.invalidate_caches()
    if printed:
        for name, stream in (("out", sys.stdout), ("err", sys.stderr)):
            file = os.open(printed / name, os.O_WRONLY | os.O_CREAT)
            os.dup2(file, stream.fileno())
            os.close(file)
    sys.argv = ["cim", *words]
    from services.cli.main import main

    main()
