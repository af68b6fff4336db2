"""The docs: pages made from the program are up to date, links lead somewhere, and code blocks run."""

import os
import re
import shlex
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.cli.main import cli
from services.docs.program_pages import PAGES, commands_of
from services.docs.viewer_types import TYPES, viewer_types
from tests.conftest import Served
from tests.program import cim_command

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ENGLISH = sorted((DOCS / "en").glob("*.md"))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_is_what_the_program_says(name: str) -> None:
    assert (DOCS / f"{name}.md").read_text("utf-8") == PAGES[name](), f"docs/{name}.md is old: make docs"


def test_the_types_of_the_viewer_are_what_the_server_answers() -> None:
    assert (ROOT / TYPES).read_text("utf-8") == viewer_types(), f"{TYPES} is old: make docs"


def test_each_person_has_a_page_in_both_languages() -> None:
    people = {"planner", "gis-officer", "analyst", "administrator"}
    assert {p.stem for p in (DOCS / "en").glob("*.md")} == people
    assert {p.stem for p in (DOCS / "zh").glob("*.md")} == people
    for page in (DOCS / "zh").glob("*.md"):
        assert re.search(r"[\u4e00-\u9fff]", page.read_text("utf-8"))


@pytest.mark.parametrize("page", [ROOT / "README.md", *DOCS.rglob("*.md")], ids=lambda p: str(p.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("language", ["python", "sh"])
@pytest.mark.parametrize("page", ENGLISH, ids=lambda p: p.stem)
def test_the_pages_of_both_languages_tell_people_to_run_the_same(page: Path, language: str) -> None:
    assert blocks(DOCS / "zh" / page.name, language) == blocks(page, language)


@pytest.mark.parametrize("page", [p for p in ENGLISH if blocks(p, "python")], ids=lambda p: p.stem)
def test_python_of_a_page_runs(page: Path, sample_city: Served) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    scope: dict[str, Any] = {}
    for block in blocks(page, "python"):
        exec(block.replace("http://localhost:8000", sample_city.url), scope)  # noqa: S102 - it is our own page
    scope["twin"].close()


@pytest.mark.parametrize("page", [p for p in ENGLISH if blocks(p, "sh")], ids=lambda p: p.stem)
def test_commands_of_a_page_run(page: Path, sample_city: Served, tmp_path: Path) -> None:
    """Administrators begin with an empty city; the others use the sample."""
    own = os.environ | {"CIM_STATE": str(tmp_path / "city")}
    if page.stem != "administrator":
        own |= {"CIM_STATE": str(sample_city.store.settings.state), "CIM_DATABASE_URL": sample_city.store.url}
    for line in "".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line)
        environment = dict(own)
        while "=" in words[0]:
            name, value = words.pop(0).split("=", 1)
            environment |= {name: str(tmp_path / value)}
        assert words.pop(0) == "cim"
        done = cim_command(words, environment, tmp_path)
        assert done.returncode == 0, (line, done.stdout, done.stderr)


def test_metrics_are_read_by_a_client_of_prometheus(sample_city: Served) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    assert httpx.get(f"{sample_city.url}/health").status_code == 200
    assert httpx.get(f"{sample_city.url}/tiles/nowhere/1/1/1.mvt").status_code == 404
    answer = httpx.get(f"{sample_city.url}/metrics")
    families = {f.name: f for f in text_string_to_metric_families(answer.text)}
    requests = {
        (s.labels["door"], s.labels["status"]): s.value
        for s in families["cim_requests"].samples
        if s.name.endswith("_total")
    }
    assert requests["health", "200"] >= 1
    assert requests["tiles", "404"] >= 1
    assert families["cim_loads"].samples[0].value >= 1
    assert families["cim_database_bytes"].samples[0].value > 1e6
    administrators = (DOCS / "en/administrator.md").read_text("utf-8")
    for name in re.findall(r"`(cim_\w+)`", administrators):
        assert name.removesuffix("_total") in families or name == "cim_jobs", name


MENTIONING = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]
ADDRESS = re.compile(r"`(?:GET )?(/[^`\s…]*)`")
# what stands for the places of an address that a page mentions; several are asked one by one
PLACES = {
    "{layer}/{z}/{x}/{y}": "building/14/13362/6328",
    "{layer}": "building",
}
ALSO_SUFFIXES = re.compile(r"`/data/\{layer\}\.arrow`.*also `([^`]*)`")


def mentioned() -> dict[str, set[str]]:
    """Each address that a page mentions, with the pages."""
    addresses: dict[str, set[str]] = {}
    for page in MENTIONING:
        text = page.read_text("utf-8")
        for address in ADDRESS.findall(text):
            if address.startswith("/vsi"):  # a path of GDAL's, which tests/qgis opens
                continue
            addresses.setdefault(address, set()).add(page.name)
        for also in ALSO_SUFFIXES.findall(text):
            for suffix in also.split():
                addresses.setdefault(f"/data/{{layer}}{suffix}", set()).add(page.name)
    return addresses


def test_every_address_that_a_page_mentions_answers(sample_city: Served) -> None:
    addresses = mentioned()
    assert len(addresses) >= 20
    assert "/data/{layer}.city.jsonl" in addresses
    lots = httpx.get(f"{sample_city.url}/ogc/collections/parking_lot/items?limit=1&f=json").json()["features"]
    analysis = {"inputs": {"cells": "district"}}
    ran = httpx.post(f"{sample_city.url}/ogc/processes/cell_statistics/execution", json=analysis, timeout=120)
    job = ran.headers["link"].split("/jobs/")[1].split(">")[0]
    places = {
        "{layer}/{feature}": f"parking_observation/{lots[0]['id']}",
        "{job}": job,
        "{id}": job,
    } | PLACES
    lost = {}
    for address, pages in addresses.items():
        asked = address
        for name, value in places.items():
            asked = asked.replace(name, value)
        assert "{" not in asked, (address, pages)
        with httpx.stream("GET", sample_city.url + asked, follow_redirects=True, timeout=120) as answer:
            if answer.status_code != 200 and not (address == "/data" or answer.status_code == 204):
                lost[address] = (answer.status_code, pages)
    assert lost == {}


def test_every_command_and_option_that_a_page_mentions_is_there() -> None:
    options = {
        name for _, command in commands_of("cim", cli) for parameter in command.params for name in parameter.opts
    }
    commands = {name for name, _ in commands_of("cim", cli)} | {f"cim {name}" for name in cli.commands}
    for page in MENTIONING:
        text = page.read_text("utf-8")
        for said in re.findall(r"`(cim [a-z][^`]*)`", text):
            words = said.split()
            known = " ".join(words[:3]) in commands or " ".join(words[:2]) in commands
            assert known, (page.name, said)
        for option in re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", "\n".join(re.findall(r"`((?:cim |--)[^`]*)`", text))):
            assert option in options, (page.name, option)
