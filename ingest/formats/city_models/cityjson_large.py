"""A large CityJSON document, object by object: what stands where is found first, and read when it is asked for."""

import mmap
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from cim.errors import UnreadableFile
from cim.geometry.body_batch import Float
from cim.messages import say

LARGE_BYTES = 32 << 20  # a document of more is read so; a smaller one is parsed whole, in twelve times its size
_PIECE = 8 << 20  # bytes of vertices that are turned into numbers at once
_STRING = rb'"(?:[^"\\]|\\.)*"'
_MEMBER = re.compile(rb"[\s,]*(" + _STRING + rb")\s*:\s*")
# up to the next brace or bracket, strings passed over: what lies between needs no look
_TO_BRACE = re.compile(rb"(?:[^{}\"]++|" + _STRING + rb")*+[{}]")
_TO_BRACKET = re.compile(rb"(?:[^\[\]\"]++|" + _STRING + rb")*+[\[\]]")
_NUMBERS_ALONE = re.compile(rb"\[[\[\]\s,0-9.eE+-]*\]")
_PLAIN = re.compile(_STRING + rb"|[^\s,{}\[\]]+")
_NUMBERS = bytes.maketrans(b"[],\t\r\n", b"      ")


class LargeDocument(Mapping[str, Any]):
    """The members of a document, of which the objects and the vertices aren't held as JSON."""

    def __init__(self, path: Path) -> None:
        """Find the members.

        Raises:
            UnreadableFile: not a JSON object, or cut short.

        """
        self._path = path
        with path.open("rb") as file:
            self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        begin = re.compile(rb"(?:\xef\xbb\xbf)?\s*").match(self._text)
        self._spans = dict(self._members(begin.end() if begin else 0))

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, name: str) -> Any:
        start, end = self._spans[name]
        if name == "vertices":
            return self._vertices(start, end)
        if name == "CityObjects" and self._text[start : start + 1] == b"{":
            return LargeObjects(self, start)
        return self.parsed(start, end)

    def parsed(self, start: int, end: int) -> Any:
        """Return the value that stands between two places.

        Raises:
            UnreadableFile: it isn't JSON.

        """
        try:
            return orjson.loads(self._text[start:end])
        except ValueError as fault:
            raise UnreadableFile(say("not-json-near-byte-since", file=self._path, start=start, reason=fault)) from fault

    def _members(self, begin: int) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yield the members of the object that begins at a place: name, and where the value stands."""
        if self._text[begin : begin + 1] != b"{":
            raise UnreadableFile(say("not-cityjson-object", file=self._path))
        position = begin + 1
        while member := _MEMBER.match(self._text, position):
            position = self._end_of(member.end())
            yield orjson.loads(member[1]), (member.end(), position)
        if self._text[position : position + 64].lstrip()[:1] not in (b"}", b","):
            raise UnreadableFile(say("not-json-near-position", file=self._path, position=position))

    def _end_of(self, start: int) -> int:
        """Return where the value that begins at a place ends."""
        if self._text[start : start + 1] not in (b"{", b"["):
            plain = _PLAIN.match(self._text, start)
            if plain is None:
                raise UnreadableFile(say("not-json-cut-short-near-byte", file=self._path, start=start))
            return plain.end()
        numbers = _NUMBERS_ALONE.match(self._text, start)
        if numbers and numbers[0].count(b"[") == numbers[0].count(b"]"):
            return numbers.end()
        step, opens = (_TO_BRACE, b"{") if self._text[start : start + 1] == b"{" else (_TO_BRACKET, b"[")
        depth, position = 0, start
        while token := step.match(self._text, position):
            position = token.end()
            depth += 1 if self._text[position - 1 : position] == opens else -1
            if depth == 0:
                return position
        raise UnreadableFile(say("not-json-cut-short-near-byte", file=self._path, start=start))

    def _vertices(self, start: int, end: int) -> Float | list[Any]:
        """Return (n, 3) numbers; as a list what isn't three numbers everywhere."""
        pieces: list[Float] = []
        position = start + 1
        while position < end:
            stop = end if end - position <= _PIECE else self._text.rfind(b"]", position, position + _PIECE) + 1
            piece = self._text[position:stop]
            counted = piece.count(b"[")
            if stop <= position or not _ONLY_NUMBERS.fullmatch(piece):
                return self.parsed(start, end)  # type: ignore[no-any-return]
            numbers = np.array(piece.translate(_NUMBERS).split(), np.float64)
            if len(numbers) != 3 * counted:
                return self.parsed(start, end)  # type: ignore[no-any-return]
            pieces.append(numbers.reshape(-1, 3))
            position = stop
        return np.concatenate(pieces) if pieces else np.empty((0, 3))


_ONLY_NUMBERS = re.compile(rb"[\[\]\s,0-9.eE+-]*")


class LargeObjects(Mapping[str, Any]):
    """The city objects of a large document."""

    def __init__(self, document: LargeDocument, begin: int) -> None:
        self._document = document
        self._spans = dict(document._members(begin))  # noqa: SLF001 - a part of it

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, name: str) -> Any:
        return self._document.parsed(*self._spans[name])
