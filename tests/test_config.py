from pathlib import Path

import pytest

from cim.config import read_settings
from cim.errors import BadSettings


def test_environment_wins_over_file(tmp_path: Path) -> None:
    file = tmp_path / "cim.toml"
    file.write_text('state = "from-file"\nworkers = 3\n')
    settings = read_settings({"CIM_STATE": str(tmp_path / "s")}, file)
    assert settings.state == tmp_path / "s"
    assert settings.worker_count == 3


def test_secrets_stay_out_of_repr(tmp_path: Path) -> None:
    settings = read_settings({"CIM_DATABASE_URL": "postgresql://u:secret@h/d"}, tmp_path / "none")
    assert settings.database_url is not None
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(("text", "named"), [("a = ", "TOML"), ("wrokers = 1", "wrokers"), ('workers = "x"', "'x'")])
def test_bad_settings_are_named(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "cim.toml"
    file.write_text(text)
    with pytest.raises(BadSettings, match=named):
        read_settings({}, file)
