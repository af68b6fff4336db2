"""Results are listed for who may see them, and changed by who asked for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from cim.access.accounts import Role, add_account
from cim.analysis.engine.registry import ANALYSES
from tests.conftest import Served

ANALYSIS = ANALYSES[0]
# the server sees these addresses of askers who haven't signed in
HERE, THERE = "127.0.0.1", "127.0.0.2"


@pytest.fixture(scope="module")
def keys(changing_city: Served) -> dict[str, str]:
    people: tuple[tuple[str, Role], ...] = (("wang", "viewer"), ("li", "editor"), ("boss", "admin"))
    with changing_city.store.connect() as connection, connection.cursor() as cursor:
        return {name: add_account(cursor, name, role) for name, role in people}


@contextmanager
def asker(url: str, *, key: str | None = None, address: str = HERE) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(local_address=address)
    headers = {"X-API-Key": key} if key else {}
    with httpx.Client(base_url=url, timeout=90, headers=headers, transport=transport) as client:
        yield client


def result_of(client: httpx.Client) -> str:
    """Run an analysis and return its job."""
    inputs = {"inputs": dict(ANALYSIS.declaration.example)}
    answer = client.post(f"/ogc/processes/{ANALYSIS.name}/execution", json=inputs)
    assert answer.status_code == 200, answer.text
    return answer.headers["link"].split("/ogc/jobs/")[1].split(">")[0]


def listed(client: httpx.Client) -> dict[str, Any]:
    return {job["jobID"]: job for job in client.get("/ogc/jobs?f=json").json()["jobs"]}


@pytest.mark.parametrize("owner", ["wang", None])
def test_a_result_is_its_owners_until_it_is_shared(
    changing_city: Served, keys: dict[str, str], owner: str | None
) -> None:
    url = changing_city.url
    with (
        asker(url, key=keys.get(owner or "")) as mine,
        asker(url, key=keys["li"]) as colleague,
        asker(url, address=THERE) as stranger,
        asker(url, key=keys["boss"]) as boss,
    ):
        job = result_of(mine)
        assert listed(mine)[job]["mayChange"]
        assert listed(mine)[job]["inputs"] == dict(ANALYSIS.declaration.example)
        for language in ("zh", "en"):
            document = mine.get(f"/ogc/jobs/{job}", params={"f": "json", "lang": language}).json()
            assert document["title"] == ANALYSIS.title.to(language)
        assert job in listed(boss)
        for other in (colleague, stranger):
            assert job not in listed(other)
        assert mine.patch(f"/ogc/jobs/{job}", json={"shared": True}).json()["shared"]
        for other in (colleague, stranger):
            assert listed(other)[job]["shared"]
            assert not listed(other)[job]["mayChange"]
            assert other.get(f"/ogc/jobs/{job}/results").status_code == 200
            assert other.patch(f"/ogc/jobs/{job}", json={"shared": False}).status_code == 403
            assert other.delete(f"/ogc/jobs/{job}").status_code == 403
        assert mine.delete(f"/ogc/jobs/{job}").json()["status"] == "dismissed"
        for other in (colleague, stranger):
            assert job not in listed(other)
        assert mine.get(f"/ogc/jobs/{job}/results").status_code == 404


def test_an_admin_takes_back_what_somebody_shared(changing_city: Served, keys: dict[str, str]) -> None:
    with asker(changing_city.url, key=keys["li"]) as editor, asker(changing_city.url, key=keys["boss"]) as boss:
        job = result_of(editor)
        editor.patch(f"/ogc/jobs/{job}", json={"shared": True})
        assert listed(boss)[job]["mayChange"]
        assert not boss.patch(f"/ogc/jobs/{job}", json={"shared": False}).json()["shared"]
        assert boss.delete(f"/ogc/jobs/{job}").status_code == 200
