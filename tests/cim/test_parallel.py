"""Processes that take tasks: results in order, and none left behind by a program that was killed."""

import gc
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cim.concurrency.garbage import rarely_collecting
from cim.concurrency.process_pool import in_order, process_pool

PROGRAM = """
import os, time
from cim.concurrency.process_pool import process_pool
with process_pool(2, "cim.concurrency.process_pool") as pool:
    one, two = pool.executor.submit(os.getpid), pool.executor.submit(time.sleep, 600)
    print(one.result(), flush=True)
    time.sleep(600)
"""


def alive(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text("ascii").rsplit(")", 1)[1].split()[0] != "Z"


def test_results_come_in_the_order_of_the_tasks() -> None:
    with process_pool(2, __name__) as pool:
        assert list(in_order(pool.executor, abs, range(-20, 0), ahead=3)) == list(range(20, 0, -1))


def test_processes_end_with_a_program_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        worker = int(program.stdout.readline())
        assert alive(worker)
        os.kill(program.pid, signal.SIGKILL)
        until = time.monotonic() + 20
        while alive(worker) and time.monotonic() < until:
            time.sleep(0.1)
        assert not alive(worker)


def test_loads_at_once_leave_the_collector_as_they_met_it() -> None:
    before = gc.get_threshold()

    def some(_: int) -> None:
        for _ in range(50):
            with rarely_collecting(), rarely_collecting():
                assert gc.get_threshold()[0] == before[0] * 100
                time.sleep(0)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(some, range(8)))
    assert gc.get_threshold() == before
