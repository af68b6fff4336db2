"""One Chromium for all tests of pages: Playwright runs once in a process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.page import browser

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def built() -> None:
    if not (ROOT / "services/static/viewer/index.html").exists():
        pytest.skip("the viewer isn't built: make viewer")


@pytest.fixture(scope="session")
def chromium(built: None) -> Iterator[Any]:
    with browser() as running:
        yield running
