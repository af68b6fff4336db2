"""XML read as it streams by: no entity is resolved, nothing is fetched, and a document type declaration is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import etree

from cim.errors import UnreadableFile
from cim.messages import say

Element = Any  # of lxml, whose own types say no more


def local_name(element: Element) -> str:
    """Return an element's name without its namespace; a comment has none."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def read_xml(path: Path) -> Element:
    """Return the root of a small document.

    Raises:
        UnreadableFile: not XML, cut short, or with a document type declaration.

    """
    root = None
    for _, element in elements(path):
        root = element.getroottree().getroot()
    if root is None:
        raise UnreadableFile(say("not-xml-or-empty", file=path))
    return root


def children(path: Path) -> Iterator[Element]:
    """Yield the children of the root, each when it is whole; who asks for the next one is done with those before.

    Raises:
        UnreadableFile: not XML, cut short, or with a document type declaration.

    """
    root, depth = None, 0
    for event, element in elements(path):
        if event == "start":
            root = element if root is None else root
            depth += 1
            continue
        depth -= 1
        if depth == 1 and root is not None:
            yield element
            root.clear(keep_tail=False)  # what was read needs no place any more


def elements(path: Path) -> Iterator[tuple[str, Element]]:
    """Yield `start` and `end` of each element; who reads a big file clears what is done with.

    Raises:
        UnreadableFile: not XML, cut short, or with a document type declaration.

    """
    try:
        with path.open("rb") as file:
            first = True
            for event, element in etree.iterparse(
                file,
                events=("start", "end"),
                resolve_entities=False,
                no_network=True,
                load_dtd=False,
                huge_tree=True,  # a TIN is one list of numbers
                remove_comments=True,
                remove_pis=True,
            ):
                if first and element.getroottree().docinfo.doctype:
                    raise UnreadableFile(say("has-document-type-declaration", file=path))
                first = False
                yield event, element
    except etree.XMLSyntaxError as fault:
        raise UnreadableFile(say("not-xml-cut-short", file=path, reason=fault.msg)) from fault
