"""What is said has its sentence in both languages, with the values that it is said with; no sentence is idle."""

import ast
import json
import pickle
import string
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cim import errors, messages
from cim.geometry.faults import FAULTS
from cim.messages import Message, keep, known_again, say, tell, told
from services.http.quality_page import FLAGS

ROOT = Path(__file__).parents[2]
PACKAGES = ("cim", "ingest", "tiles", "services")
LANGUAGES = ("zh", "en")
# what isn't read by a person at a door: commands, generated pages
ELSEWHERE = ("services/cli", "services/docs")
ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.CimError)}
FILES = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py")) if "node_modules" not in path.parts]


def calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            yield node


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def ids_in(call: ast.Call) -> list[str]:
    """The ids that a call of `say` may say: one, or one of two."""
    return [n.value for n in ast.walk(call.args[0]) if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def said() -> dict[str, list[tuple[str, set[str], bool]]]:
    """Each id that is said: where, with which values, and whether those are all."""
    found = defaultdict(list)
    for path in FILES:
        for call in calls(path):
            if isinstance(call.func, ast.Name) and call.func.id == "say":
                names = {keyword.arg for keyword in call.keywords if keyword.arg}
                for identifier in ids_in(call):
                    place = f"{path.relative_to(ROOT)}:{call.lineno}"
                    found[identifier].append((place, names, all(keyword.arg for keyword in call.keywords)))
    return found


SAID = said()


def fields(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_said_stands_in_the_catalog_and_nothing_else(language: str) -> None:
    assert set(messages.catalog(language)) == set(SAID)


@pytest.mark.parametrize("identifier", sorted(SAID))
def test_a_sentence_has_the_values_that_it_is_said_with_in_both_languages(identifier: str) -> None:
    chinese, english = (messages.catalog(language)[identifier] for language in LANGUAGES)
    assert fields(chinese) == fields(english)
    for place, names, whole in SAID[identifier]:
        assert names == fields(english) if whole else names <= fields(english), place
    assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese) or fields(english)
    assert not any("\u4e00" <= letter <= "\u9fff" for letter in english)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_errors_say_messages(path: Path) -> None:
    if str(path.relative_to(ROOT)).startswith(ELSEWHERE):
        return
    for call in calls(path):
        if name_of(call) in ERRORS and call.args:
            literal = isinstance(call.args[0], ast.JoinedStr | ast.Constant | ast.BinOp)
            assert not literal, f"{path}:{call.lineno}: a sentence is a message of cim/locale"


SAYING = {"warn", "refuse", "Refusal", "_refuse"}  # what a reader or a check says


@pytest.mark.parametrize("path", [p for p in FILES if "ingest" in p.parts], ids=lambda path: path.stem)
def test_readers_and_checks_say_messages(path: Path) -> None:
    for call in calls(path):
        for argument in call.args if name_of(call) in SAYING else ():
            text = "".join(
                n.value for n in ast.walk(argument) if isinstance(n, ast.Constant) and isinstance(n.value, str)
            )
            literal = isinstance(argument, ast.JoinedStr | ast.Constant | ast.BinOp)
            assert not (literal and len(text.split()) > 1), (
                f"{path}:{call.lineno}: a sentence is a message of cim/locale"
            )


def test_every_flag_has_a_title() -> None:
    assert {fault.flag for fault in FAULTS} | {"height_from_storeys", "no_height", "unknown_code"} == set(FLAGS)


FAR = say("far-outside", file="a.shp", west=1.0, south=3.0, east=2.0, north=4.0, distance_km=900.4,
          area=say("extent-of-city", city="阳泉"), readings=say("another-city-or-crs"))  # fmt: skip


def test_a_message_is_its_english_sentence_and_is_said_in_chinese_with_what_it_quotes() -> None:
    assert FAR.startswith("a.shp: the data would land at longitude 1.0000 to 2.0000")
    assert "900 km outside the extent of 阳泉; is it another city" in FAR
    assert "在阳泉的范围之外 900 公里；是否为其他城市" in FAR.to("zh")


def test_a_message_keeps_what_it_says_wherever_it_goes() -> None:
    for again in (known_again(FAR.kept()), pickle.loads(pickle.dumps(FAR))):  # noqa: S301 - our own
        assert isinstance(again, Message)
        assert again == FAR
        assert again.to("zh") == FAR.to("zh")


@given(st.text(), st.text(), st.integers())
def test_values_are_not_taken_for_sentences(text: str, inner: str, number: int) -> None:
    message = say("no-such-object", layer=text, object=say("no-job", job=inner))
    assert told(message.kept(), "zh") == message.to("zh") == f"没有 {text} 没有任务 {inner}"
    assert say("no-user", name=number) == f"no user {number}"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_is_no_message_stays(document: object) -> None:
    assert tell(json.loads(json.dumps(keep(document))), "en") == document


@pytest.mark.parametrize(
    "text", ["", "the sky is blue", '{"say": ', '{"say": "nothing-like-it"}', '{"say": "no-job"}', '{"say": 1}']
)
def test_what_cannot_be_known_again_is_shown_as_it_is(text: str) -> None:
    assert known_again(text) == text
    assert told(text, "zh") == told(text, "en") == text


def test_a_report_is_told_in_the_language_of_who_reads_it() -> None:
    reason, warning = say("no-job", job="7"), say("job-dismissed")
    file = {
        "error": FAR,
        "warnings": [{"warning": warning, "count": 1, "ids": ["a"]}],
        "reasons": {reason: 2, "of an older version": 1},
        "refused_ids": {reason: ["b", "c"]},
    }
    kept = json.loads(json.dumps(keep({"files": [file], "load": 3})))
    assert tell(kept, "en") == {"files": [file], "load": 3}
    told_file = tell(kept, "zh")["files"][0]
    assert told_file["error"] == FAR.to("zh")
    assert told_file["reasons"] == {"没有任务 7": 2, "of an older version": 1}
    assert told_file["refused_ids"] == {"没有任务 7": ["b", "c"]}
    assert told_file["warnings"][0]["warning"] == "已取消"
