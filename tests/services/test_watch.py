"""The log of requests: one JSON object a line, without queries or keys."""

import asyncio
import json
import logging
import threading

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from cim.config import read_settings
from cim.errors import BadSettings
from services.http import watch


def answer(request: Request) -> Response:
    if request.url.path == "/ogc/fault":
        raise RuntimeError("broken")
    return PlainTextResponse("hello")


async def _ask(app: Starlette) -> None:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://city") as client:
        await client.get("/ogc/collections?filter=name='王'", headers={"X-API-Key": "secret"})
        await client.get("/ogc/fault")


def test_each_request_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    watch.log_as_json()
    try:
        app = Starlette(routes=[Route("/{path:path}", answer)], middleware=[Middleware(watch.WatchMiddleware)])
        # a thread of its own: the browser's driver leaves a running loop in this one
        asking = threading.Thread(target=lambda: asyncio.run(_ask(app)))
        asking.start()
        asking.join()
    finally:
        logging.getLogger("cim.access").handlers.clear()
    written = capsys.readouterr().err
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    assert [(line["path"], line["status"], line["level"]) for line in lines] == [
        ("/ogc/collections", 200, "info"),
        ("/ogc/fault", 500, "error"),
    ]
    assert lines[0]["bytes"] == 5
    assert lines[0]["ms"] >= 0
    assert "secret" not in written
    assert "王" not in written.split("Traceback")[0]


def test_a_log_that_is_not_known_is_an_error() -> None:
    assert read_settings({"CIM_LOG": "json"}).log == "json"
    with pytest.raises(BadSettings, match="quiet, json"):
        read_settings({"CIM_LOG": "xml"})
