"""How long tests go on that try at random: a budget in time, in turn from a fixed seed and from one that varies.

`CIM_TEST_BUDGET_S` (make long: minutes) is a test's budget in seconds; `CIM_TEST_SEED` repeats the varying seed of a
run, which a failing test prints.
"""

import os
import random
import sys
import time
from collections.abc import Iterator
from itertools import count
from secrets import token_hex

PATIENT = "CIM_TEST_BUDGET_S" in os.environ
BUDGET_S = float(os.environ.get("CIM_TEST_BUDGET_S", "20"))
SEED = os.environ.get("CIM_TEST_SEED") or token_hex(4)


def draws(seed: int, most: int, least: int = 3) -> Iterator[random.Random]:
    """Yield sources of chance until the budget is spent, or `most` of them have been; a patient run goes on.

    Args:
        seed: of this test; every other draw is the same in each run.
        most: draws of a run that isn't patient.
        least: draws that are made whatever they take.

    """
    sys.stdout.write(f"CIM_TEST_SEED={SEED}\n")
    ends = time.monotonic() + BUDGET_S
    for number in count():
        spent = time.monotonic() > ends or (number >= most and not PATIENT)
        if number >= least and spent:
            return
        yield random.Random(f"{seed} {number}" if number % 2 == 0 else f"{SEED} {seed} {number}")
