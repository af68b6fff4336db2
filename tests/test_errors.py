"""Every error of ours through both doors: an exit code, and an HTTP status with what was wrong."""

import json

import pytest

from cim import errors
from cim.errors import CimError
from services.cli import main as cli
from services.http.errors import STATUS, answer, status_of

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CimError)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_line_prints_one_message_and_exits(
    kind: type[CimError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise kind("what, where, and what to do")

    monkeypatch.setattr(cli.cli, "main", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == kind.exit_code in (1, 2)
    assert capsys.readouterr().err == "cim: what, where, and what to do\n"


@pytest.mark.parametrize("kind", KINDS)
def test_http_says_what_was_wrong(kind: type[CimError]) -> None:
    error = kind("what, where, and what to do")
    response = answer(None, error)  # type: ignore[arg-type]
    body = json.loads(bytes(response.body))
    assert body["title"] == "what, where, and what to do"
    assert response.status_code == body["status"] == status_of(error) == STATUS.get(kind, 500)
