"""The text of a Shapefile's table: which encoding it is in, and text cut by a field's width.

The option wins, then the .cpg, then the table's language byte, unless the bytes contradict: several values that are
UTF-8 throughout are UTF-8, whatever else is said (other encodings are so by accident only in single words). Where
nothing is said, text that is UTF-8 throughout is UTF-8, else GB 18030.
"""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

from cim.errors import UndecidableEncoding
from cim.messages import say

# language driver ids of the dBASE header, byte 29; 0 says nothing, and 0x57 ("ANSI") is written by default
_LANGUAGE = {0x4D: "gb18030", 0x78: "big5", 0x7A: "gb18030", 0x7B: "cp932", 0x79: "cp949"}
_LONGEST = 4  # bytes of a character
_EVIDENCE = 2  # different values that are all UTF-8 by accident are too many

Table = bytes | mmap


@dataclass(frozen=True)
class Text:
    """How to turn a table's bytes into text."""

    encoding: str
    rows: int | None
    warnings: tuple[str, ...] = ()

    def decode(self, latin: str) -> tuple[str, bool]:
        """Decode text that was read as ISO-8859-1; say whether its end was cut inside a character."""
        if latin.isascii():
            return latin, False
        raw = latin.encode("iso-8859-1", "ignore")
        for dropped in range(_LONGEST):
            try:
                return raw[: len(raw) - dropped].decode(self.encoding), dropped > 0
            except UnicodeDecodeError as fault:
                if fault.start < len(raw) - _LONGEST:
                    break
        raise UndecidableEncoding(say("text-not-of-encoding", raw=raw[:24], encoding=self.encoding))


def text_of(dbf: Table, cpg: str | None, option: str | None, where: str) -> Text:
    """Return how a table's text is encoded.

    Raises:
        UndecidableEncoding: the option names no encoding, or nothing tells and no rule decides.

    """
    rows = int.from_bytes(dbf[4:8], "little") if len(dbf) >= 32 else None
    if option:
        return Text(_known(option, where, "the setting encoding"), rows)
    language = dbf[29] if len(dbf) > 29 else 0
    declared = None
    if cpg and cpg.strip():
        declared = _known(cpg.strip(), where, "the .cpg")
    elif language in _LANGUAGE:
        declared = _LANGUAGE[language]
    if declared == "utf-8":
        return Text(declared, rows)
    evidence = _evidence(dbf) if len(dbf) >= 32 else _Evidence()
    if declared and evidence.values >= _EVIDENCE and evidence.utf8:
        return Text("utf-8", rows, (say("text-said", text=declared),))
    if declared:
        return Text(declared, rows)
    if evidence.utf8:
        return Text("utf-8", rows)
    if evidence.gbk:
        return Text("gb18030", rows, (say("no-cpg-no-language-byte"),))
    raise UndecidableEncoding(say("nothing-tells-encoding", file=where))


def _known(name: str, where: str, said_by: str) -> str:
    spelled = {"936": "gb18030", "gbk": "gb18030", "gb2312": "gb18030", "ansi 936": "gb18030", "65001": "utf-8"}
    try:
        return codecs.lookup(spelled.get(name.lower().replace("cp", "").strip(), name)).name
    except LookupError:
        raise UndecidableEncoding(say("which-no-encoding-known-here", file=where, source=said_by, name=name)) from None


@dataclass
class _Evidence:
    """What all text of a table can be."""

    values: int = 0  # different ones with more than ASCII, at most as many as tell
    utf8: bool = True
    gbk: bool = True


def _evidence(dbf: Table) -> _Evidence:
    """Look at all text of a table, record by record."""
    evidence = _Evidence()
    seen: set[bytes] = set()
    for value in _texts(dbf):
        if len(seen) < _EVIDENCE:
            seen.add(value)
        evidence.utf8 = evidence.utf8 and _is(value, "utf-8")
        evidence.gbk = evidence.gbk and _is(value, "gb18030")
        if not evidence.utf8 and not evidence.gbk:
            break
    evidence.values = len(seen)
    return evidence


def _texts(dbf: Table) -> Iterator[bytes]:
    """Yield the non-ASCII values of the table's character fields."""
    header, width = int.from_bytes(dbf[8:10], "little"), int.from_bytes(dbf[10:12], "little")
    spans, position = [], 1
    for offset in range(32, min(header, len(dbf)) - 1, 32):
        if dbf[offset] == 0x0D or offset + 17 > len(dbf):
            break
        kind, length = dbf[offset + 11 : offset + 12], dbf[offset + 16]
        if kind == b"C":
            spans.append((position, position + length))
        position += length
    for start in range(header, len(dbf), width or 1):
        record = dbf[start : start + width]
        if not record.isascii():
            values = (record[a:b].rstrip(b" \x00") for a, b in spans)
            yield from (value for value in values if not value.isascii())


def _is(raw: bytes, encoding: str) -> bool:
    """Whether bytes are text of an encoding, a cut last character aside."""
    for dropped in range(_LONGEST):
        try:
            raw[: len(raw) - dropped].decode(encoding)
        except UnicodeDecodeError:
            continue
        return True
    return False
