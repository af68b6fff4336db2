"""The hook that reads a commit's message."""

import subprocess
from pathlib import Path

import pytest

HOOK = Path(__file__).parents[1] / "setup/commit-message"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("A subject\n\nWhy it is so.\n", 0),
        ("A subject\n\n# a comment of git\nWhy\n# another\n", 0),
        ("楼" * 72 + "\n\n因为\n", 0),
        ("x" * 73 + "\n\nWhy\n", 1),
        ("A subject\nno empty line\n", 1),
        ("A subject\n", 1),
        ("A subject\n\n# only a comment\n", 1),
    ],
)
def test_a_message_has_a_short_subject_and_a_reason(tmp_path: Path, message: str, code: int) -> None:
    file = tmp_path / "message"
    file.write_text(message, "utf-8")
    done = subprocess.run([HOOK, file], capture_output=True, text=True, check=False, env={"LC_ALL": "C.UTF-8"})
    assert done.returncode == code, done.stderr
    assert bool(done.stderr) == bool(code)
