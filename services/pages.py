"""HTML pages of the OGC APIs: our own templates, nothing from outside, the asker's address and language."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape

from services.ask import ASK

FOLDER = Path(__file__).parent / "templates"


@cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(FOLDER), autoescape=select_autoescape(["html"]), auto_reload=False)


def render(
    config: dict[str, Any], _templates: object, template: str, data: dict[str, Any], _locale: object = None
) -> str:
    """Render a page; takes the place of pygeoapi's `render_j2_template`, which keeps the first asker's address."""
    ask = ASK.get()
    title = config["metadata"]["identification"]["title"]
    return (
        _environment()
        .get_template(str(template))
        .render(
            data=data,
            zh=ask.language == "zh",
            base=f"{ask.base_url}/ogc",
            city=title.get(ask.language) if isinstance(title, dict) else title,
        )
    )
