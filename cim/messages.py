"""What the program says to people: messages by id with values, whose sentences stand in `cim/locale`, zh and en.

A message is its English sentence wherever text is wanted, and keeps its id and values: kept with a load or a job, it is
said later in the language of who reads it (docs/adr/0019).
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Self

Value = str | int | float  # a str may be a message itself
_KEPT = '{"say": '  # how the text of a kept message begins


class Message(str):
    """A sentence in English, which knows what it says: an id of the catalogs, and values by name."""

    __slots__ = ("id", "values")
    id: str
    values: Mapping[str, Value]

    def __new__(cls, id: str, values: Mapping[str, Value]) -> Self:  # noqa: A002 - what gettext calls it
        """Make a message.

        Raises:
            KeyError: the catalogs have no such id, or its sentence wants another value.

        """
        message = super().__new__(cls, _written(id, values, "en"))
        message.id, message.values = id, values
        return message

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process as id and values."""
        return Message, (self.id, dict(self.values))

    def to(self, language: str) -> str:
        """Return the sentence in a language, zh or en, with the messages among its values."""
        return _written(self.id, self.values, language)

    def kept(self) -> str:
        """Return the message as the text that `known_again` knows."""
        values = {name: kept(value) if isinstance(value, str) else value for name, value in self.values.items()}
        return json.dumps({"say": self.id, **values}, ensure_ascii=False)


def say(id: str, /, **values: object) -> Message:  # noqa: A002
    """Return a message; of what is neither number nor text it has the text, of an error of ours what that says."""
    return Message(id, {name: _plain(value) for name, value in values.items()})


def _plain(value: object) -> Value:
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, Exception):
        return value.args[0] if value.args and isinstance(value.args[0], Message) else str(value)
    return value.item() if hasattr(value, "item") else str(value)  # a number of numpy's


def each_text(text: str, change: Callable[[str], str]) -> str:
    """Return a message with the texts among its values changed, also in the messages among them; other text changed."""
    if not isinstance(text, Message):
        return change(text)
    return Message(text.id, {n: each_text(v, change) if isinstance(v, str) else v for n, v in text.values.items()})


def _written(identifier: str, values: Mapping[str, Value], language: str) -> str:
    translated = {name: v.to(language) if isinstance(v, Message) else v for name, v in values.items()}
    return catalog(language)[identifier].format_map(translated)


@cache
def catalog(language: str) -> Mapping[str, str]:
    """Return the sentences of a language by their ids, of its gettext catalog."""
    from babel.messages.pofile import read_po

    with files("cim").joinpath("locale", f"{language}.po").open("rb") as file:
        return {str(message.id): str(message.string) for message in read_po(file, locale=language) if message.id}


def told(text: str, language: str) -> str:
    """Return a message, as it is or as it was kept, in a language; other text as it is."""
    text = known_again(text)
    return text.to(language) if isinstance(text, Message) else text


def known_again(text: str) -> str:
    """Return the message of a text that was kept; other text as it is."""
    if isinstance(text, Message) or not text.startswith(_KEPT):
        return text
    try:
        values = json.loads(text)
        identifier = values.pop("say")
        return Message(identifier, {n: known_again(v) if isinstance(v, str) else v for n, v in values.items()})
    except (ValueError, KeyError):  # cut short, or of a version that said other things
        return text


def kept(text: str) -> str:
    """Return a text as it is kept: a message with its id and values, other text as it is."""
    return text.kept() if isinstance(text, Message) else text


def keep(document: Any) -> Any:
    """Return a document of JSON, such as the report of a load, with its messages as texts that `tell` knows again."""
    return _mapped(document, kept)


def tell(document: Any, language: str) -> Any:
    """Return a document of JSON with its messages in a language."""
    return _mapped(document, lambda text: told(text, language))


def _mapped(document: Any, change: Callable[[str], str]) -> Any:
    if isinstance(document, str):
        return change(document)
    if isinstance(document, Mapping):
        return {change(name): _mapped(value, change) for name, value in document.items()}
    return [_mapped(value, change) for value in document] if isinstance(document, list | tuple) else document
