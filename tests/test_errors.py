"""Every error of ours through both doors: an exit code, and an HTTP status with what was wrong."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from cim import errors
from cim.access.accounts import add_account
from cim.config import Settings
from cim.errors import CimError
from cim.messages import say
from ingest.delivery.declared import Declared
from services.app import create_app
from services.cli import main as cli
from services.cli.settings import how_to_give
from services.http.errors import PROBLEMS
from tests.conftest import Served


def kinds_below(kind: type[CimError]) -> Iterator[type[CimError]]:
    for below in kind.__subclasses__():
        yield below
        yield from kinds_below(below)


KINDS = sorted(set(kinds_below(CimError)), key=lambda kind: kind.__name__)

# by what each means, from RFC 9110: section 15.5 (what the asker can mend) and 15.6 (what the server's people can)
STATUS = {
    400: "BadRequest UnknownCrs",  # the request itself is malformed
    401: "UnknownKey",
    403: "NotAllowed",
    404: "NotFound UnknownLayer UnknownLoad",
    409: "CannotUndo",  # with the state of the load; who asks may resolve it and ask again
    413: "TooLarge",
    # the request is understood, what it brings can't be processed
    422: "BadBackup BadSettings NoOperation NothingToLoad UndecidableEncoding UnknownAnchor UnknownVerticalDatum "
    "UnreadableFile WrongCity",
    429: "TooManyJobs",  # RFC 6585: this asker sends too much
    500: "BadCatalog BadTileset CannotListen FailedJob",
    501: "MissingProgram",  # the server doesn't have what the request needs
    502: "ServerFault",  # another server
    503: "LayerBusy NoDatabase TooManyDownloads",  # for now; with Retry-After
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_line_prints_one_message_and_exits(
    kind: type[CimError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise kind("what, where, and what to do")

    monkeypatch.setattr(cli.cli, "main", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == kind.exit_code in (1, 2)
    assert capsys.readouterr().err == "cim: what, where, and what to do\n"


def test_every_kind_stands_in_the_file_of_errors_and_has_its_own_row() -> None:
    assert {kind.__module__ for kind in KINDS} == {errors.__name__}
    assert set(PROBLEMS) == set(KINDS)
    assert sorted(" ".join(STATUS.values()).split()) == [kind.__name__ for kind in KINDS]
    titles = [title for problem in PROBLEMS.values() for title in (problem.zh, problem.en)]
    assert len(set(titles)) == 2 * len(KINDS)


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Starlette:
    """The server's own application, not started, with a door that asks nothing of a city and fails as its path says."""
    app = create_app(Settings(state=tmp_path_factory.mktemp("failing")))

    def fail(request: Request) -> NoReturn:
        raise getattr(errors, request.path_params["kind"])(say("no-geometry"))

    app.router.routes.insert(0, Route("/fails/{kind}", fail))
    return app


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_answered_as_what_it_means(kind: type[CimError], language: str, failing: Starlette) -> None:
    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(failing), base_url="http://city") as client:
            return await client.get(f"/fails/{kind.__name__}", headers={"Accept-Language": language})

    response = asyncio.run(asked())
    body = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["content-language"] == language
    assert kind.__name__ in STATUS[response.status_code].split()
    assert body["status"] == response.status_code
    assert body["detail"] == {"zh": "没有几何图形", "en": "no geometry"}[language]
    assert any("\u4e00" <= letter <= "\u9fff" for letter in body["title"]) == (language == "zh")
    assert ("WWW-Authenticate" in response.headers) == (response.status_code == 401)
    assert ("Retry-After" in response.headers) == (response.status_code in (429, 503))


def test_a_setting_that_an_error_names_can_be_given_at_every_door() -> None:
    settings = {kind.setting for kind in KINDS if kind.setting}
    options = {
        name for parameter in cli.cli.commands["ingest"].params if isinstance(parameter, click.Option)
        for name in parameter.opts
    }  # fmt: skip
    form = (Path(__file__).parents[1] / "services/viewer/src/tools/upload.ts").read_text("utf-8")
    fields = form.split("const FIELDS = {")[1].split("}")[0]
    assert settings <= set(Declared.model_fields)
    for setting in settings:
        assert how_to_give(setting).split("(")[1].split(",")[0] in options
        assert f"{setting}:" in fields


OTHERS_ID = "00000000-0000-4000-8000-000000000000"
DOORS = [
    ("GET", "/data/nothing.arrow", None, 404),
    ("GET", "/assets/0.tif", None, 404),
    ("GET", "/data/building.geojson?crs=EPSG:999999", None, 400),
    ("GET", "/data/building.geojson?bbox=1,2", None, 400),
    ("GET", "/data/city.json?at=yesterday", None, 400),
    ("GET", "/data/building.geojson", "nobody's", 401),
    ("GET", "/3dtiles/nothing/tileset.json", None, 404),
    ("GET", "/tiles/building/1/7/7.mvt", None, 400),
    ("GET", "/observations/building/x", None, 404),
    ("GET", "/ogc/processes/nothing", None, 404),
    ("GET", f"/ogc/jobs/{OTHERS_ID}", None, 404),
    ("GET", "/ogc/jobs/nothing", None, 400),
    ("POST", "/ogc/processes/cell_statistics/execution", None, 400),
    ("POST", "/ogc/collections/building/items", None, 401),
    ("POST", "/ogc/collections/building/items", "viewer", 403),
    ("POST", "/ogc/collections/building/items", "editor", 400),
    ("POST", "/viewer/uploads?name=a.gpkg", None, 401),
    ("POST", "/viewer/uploads?name=.", "editor", 400),
    ("POST", f"/viewer/uploads/{OTHERS_ID}/accept", "editor", 400),
    ("GET", "/viewer/place?lon=east", None, 400),
]


@pytest.fixture(scope="module")
def keys(sample_city: Served) -> dict[str, str]:
    with sample_city.store.connect() as connection, connection.cursor() as cursor:
        return {role: add_account(cursor, f"{role} of errors", role) for role in ("viewer", "editor")}  # type: ignore[arg-type]


@pytest.mark.parametrize(("method", "path", "role", "status"), DOORS)
def test_doors_answer_by_the_table(
    sample_city: Served, keys: dict[str, str], method: str, path: str, role: str | None, status: int
) -> None:
    headers = {"X-API-Key": keys.get(role, role)} if role else {}
    response = httpx.request(method, sample_city.url + path, headers=headers, timeout=60)
    assert response.status_code == status, response.text
    body = response.json()
    assert body["type"] in STATUS[status].split()
    assert body["detail"]
    assert body["title"] != body["detail"]


def test_what_an_upload_misses_is_named_without_the_words_of_another_door(
    sample_city: Served, keys: dict[str, str]
) -> None:
    with httpx.Client(base_url=sample_city.url, headers={"X-API-Key": keys["editor"]}, timeout=60) as client:
        table = b"id,x,y\nA,500000,4190000\n"
        sent = client.post("/viewer/uploads?name=hydrant.csv", content=table).raise_for_status().json()
        until = time.monotonic() + 60
        while not (job := client.get(f"/viewer/uploads/jobs/{sent['job']}").json())["result"]:
            assert time.monotonic() < until, job
            time.sleep(0.1)
    (file,) = job["result"]["report"]["files"]
    assert file["setting"] == "crs"
    assert "CRS" in file["error"]
    assert "--" not in file["error"]
