"""HTML pages of the OGC APIs: our own templates, nothing from outside, the asker's address and language."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from cim.messages import told
from services.http.ask import ASK
from services.http.context import Context

FOLDER = Path(__file__).parents[1] / "templates"


@cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(FOLDER), autoescape=select_autoescape(["html"]), auto_reload=False)


def page(context: Context, template: str, data: dict[str, Any]) -> str:
    """Render a page of our own."""
    return _rendered(template, data, context.store.city.name)


def _rendered(template: str, data: dict[str, Any], city: str) -> str:
    ask = ASK.get()
    zh = ask.language == "zh"
    return _environment().get_template(template).render(data=data, zh=zh, base=f"{ask.base_url}/ogc", city=city)


def render_alone(template: str, data: dict[str, Any], city: str) -> str:
    """Render a page that is a file of its own, in both languages: it needs no request."""
    return _environment().get_template(template).render(data=data, city=city, said=_in_both)


def _in_both(sentence: str) -> Markup:
    """Return a sentence of the program in both languages, of which the page shows one."""
    return Markup('<span class="zh">{}</span><span class="en">{}</span>').format(
        told(sentence, "zh"), told(sentence, "en")
    )


def render(
    config: dict[str, Any], _templates: object, template: str, data: dict[str, Any], _locale: object = None
) -> str:
    """Render a page; takes the place of pygeoapi's `render_j2_template`, which keeps the first asker's address."""
    title = config["metadata"]["identification"]["title"]
    return _rendered(str(template), data, str(title.get(ASK.get().language) if isinstance(title, dict) else title))
