"""Attributes of CityGML: values of any depth, in the types that the standard gives them, and the texts of codes."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from cim.errors import UnreadableFile
from ingest.formats.xml_stream import Element, elements, local_name

XLINK = "{http://www.w3.org/1999/xlink}href"
_INTEGERS = frozenset({"storeysAboveGround", "storeysBelowGround", "yearOfConstruction", "yearOfDemolition"})
_LENGTHS = frozenset({"measuredHeight", "height", "trunkDiameter", "crownDiameter", "averageHeight"})
_LENGTH_LISTS = frozenset({"storeyHeightsAboveGround", "storeyHeightsBelowGround"})
_METRES = frozenset({"", "m", "#m", "metre", "meter", "urn:ogc:def:uom:EPSG::9001", "urn:ogc:def:uom:UCUM::m"})


def value_of(element: Element) -> Any:
    """Return an element as JSON: text, or what its children say; a type's own element in between is passed over."""
    children = [child for child in element if isinstance(child.tag, str)]
    if not children:
        return (element.text or "").strip() or element.get(XLINK)
    if len(children) == 1 and local_name(children[0])[:1].isupper() and len(children[0]):
        return value_of(children[0])
    members: dict[str, Any] = {}
    for child in children:
        value = value_of(child)
        if value is None:
            continue
        name = local_name(child)
        earlier = members.get(name)
        members[name] = value if earlier is None else [*(earlier if isinstance(earlier, list) else [earlier]), value]
    return members or None


def typed(name: str, text: str, unit: str) -> Any:
    """Return an attribute's text in the type that the standard gives it; a length in another unit keeps the unit."""
    try:
        if name in _INTEGERS:
            return int(text[:4]) if name.startswith("year") else int(text)
        if name in _LENGTHS:
            return float(text) if unit in _METRES else f"{float(text)} {unit.lstrip('#')}"
        if name in _LENGTH_LISTS:
            return [float(part) for part in text.split()]
    except ValueError:
        pass
    return text


def generic(prop: Element) -> dict[str, Any]:
    """Return a generic attribute: its own name, and its value in its type."""
    element = prop[0] if local_name(prop) == "genericAttribute" and len(prop) else prop
    kind = local_name(element).lower()
    parts = {local_name(child): child for child in element}
    name = element.get("name") or (parts["name"].text if "name" in parts else None)
    if not name:
        return {}
    if "set" in kind:
        inside: dict[str, Any] = {}
        for child in element:
            inside.update(generic(child))
        return {name: inside}
    value = (parts["value"].text or "").strip() if "value" in parts else None
    if not value:
        return {}
    unit = parts["value"].get("uom")
    attributes: dict[str, Any] = {f"{name}_uom": unit} if unit else {}
    try:
        attributes[name] = (
            int(value) if kind.startswith("int") else float(value) if kind[:4] in ("doub", "meas") else value
        )
    except ValueError:
        attributes[name] = value
    return attributes


def dictionary(file: Path) -> dict[str, str]:
    """Return code → text of a gml:Dictionary; an unreadable one is none."""
    meanings: dict[str, str] = {}
    with suppress(UnreadableFile):
        for event, element in elements(file):
            if event == "end" and local_name(element) == "Definition":
                parts = {local_name(child): (child.text or "").strip() for child in element}
                if "name" in parts and "description" in parts:
                    meanings[parts["name"]] = parts["description"]
    return meanings
