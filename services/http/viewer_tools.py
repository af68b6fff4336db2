"""Tools of the page that other packages bring: the JavaScript modules of what entry points `cim.viewer_tools` name."""

import logging
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cim.errors import NotFound
from cim.messages import say

_LOG = logging.getLogger("uvicorn.error")
_SUFFIX = ".js"
_LONGEST_NAME = 255  # characters of an address that an answer repeats


@cache
def modules() -> Mapping[str, Traversable]:
    """Return the modules by their name in an address, `<entry point>/<module>`, in its order.

    Whatever an address says is looked up here, so that none leads to another file. A package that can't be imported
    is named in the log and brings nothing: the page does without its tools.
    """
    table: dict[str, Traversable] = {}
    for point in sorted(entry_points(group="cim.viewer_tools"), key=lambda point: point.name):
        try:
            folder = files(point.value)
        except Exception as fault:  # noqa: BLE001 - importing runs their code, which may raise anything
            _LOG.warning("cim.viewer_tools: %s = %s: %s", point.name, point.value, fault)
            continue
        scripts = [file for file in folder.iterdir() if file.name.endswith(_SUFFIX) and file.is_file()]
        for file in sorted(scripts, key=lambda file: file.name):
            table[f"{point.name}/{file.name.removesuffix(_SUFFIX)}"] = file
    return table


def addresses() -> list[str]:
    """Return the modules' addresses, from the page's own."""
    return [f"viewer/tools/{name}{_SUFFIX}" for name in modules()]


def module(request: Request) -> Response:
    """Answer a module."""
    name = request.path_params["name"]
    if name not in modules():
        raise NotFound(say("no-such-file", name=f"{name[:_LONGEST_NAME]}{_SUFFIX}"))
    content = modules()[name].read_bytes()
    return Response(content, headers={"Cache-Control": "no-cache"}, media_type="text/javascript")


ROUTES = [Route("/viewer/tools/{name:path}.js", module)]
