"""A newcomer's machine: interpreters that don't run, a port that is taken, the wheel outside the checkout."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import MakeStore, serving

ROOT = Path(__file__).parents[1]


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def find_python(path: Path, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{path}:/usr/bin:/bin", "HOME": str(home)}
    command = ["/bin/sh", str(ROOT / "setup/find-python")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_shim_that_does_not_run_is_not_an_interpreter(tmp_path: Path) -> None:
    for name in ("python3.13", "python3.12", "python3"):
        program(tmp_path / "bin" / name, "echo 'pyenv: version not installed' >&2; exit 127")
    real = tmp_path / "home/.pyenv/versions/3.12.4/bin/python3"
    program(real, f'exec {sys.executable} "$@"')
    found = find_python(tmp_path / "bin", tmp_path / "home")
    assert found.stdout.strip() == str(real)


def test_an_interpreter_that_uv_brings_is_taken(tmp_path: Path) -> None:
    for name in ("python3.13", "python3.12", "python3"):
        program(tmp_path / "bin" / name, "exit 1")
    program(tmp_path / "bin/uv", '[ "$2" = find ] && echo /opt/python3.12; exit 0')
    assert find_python(tmp_path / "bin", tmp_path / "home").stdout.strip() == "/opt/python3.12"


def test_without_any_interpreter_one_message_says_what_to_do(tmp_path: Path) -> None:
    for name in ("python3.13", "python3.12", "python3", "uv"):
        program(tmp_path / "bin" / name, "exit 1")
    found = find_python(tmp_path / "bin", tmp_path / "home")
    assert found.returncode == 1
    assert "Python 3.12 or 3.13" in found.stderr
    assert "apt-get install" in found.stderr


def test_without_sudo_the_command_for_an_administrator_is_said(tmp_path: Path) -> None:
    program(tmp_path / "bin/sudo", "exit 1")
    program(tmp_path / "bin/id", "echo 1000")
    program(tmp_path / "bin/apt-get", "exit 0")
    command = ["/bin/sh", str(ROOT / "setup/packages"), str(tmp_path / "nowhere"), "postgresql-postgis"]
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "sudo apt-get install -y --no-install-recommends postgresql-postgis" in done.stderr


def test_a_taken_port_is_one_message(make_store: MakeStore) -> None:
    store = make_store()
    environment = os.environ | {"CIM_STATE": str(store.settings.state), "CIM_DATABASE_URL": store.url}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "services", "serve", "--port", port]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"port {port}" in done.stderr


def test_the_wheel_outside_the_checkout_makes_a_sample_and_serves(make_store: MakeStore, tmp_path: Path) -> None:
    # setuptools leaves its working files beside the sources; a copy keeps the checkout as it is
    copy = tmp_path / "source"
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    wanted = [f for f in files if f.startswith(("cim/", "ingest/", "tiles/", "services/", "styles/", "sample_data/"))]
    for name in [*wanted, "pyproject.toml", "README.md", "LICENSE"]:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    built = ROOT / "services/static/viewer/index.html"
    if built.exists():
        (copy / "services/static/viewer").mkdir(parents=True)
        (copy / "services/static/viewer/index.html").write_bytes(built.read_bytes())
    build = "import setuptools.build_meta as b; print(b.build_wheel('.'))"
    subprocess.run([sys.executable, "-c", build], cwd=copy, capture_output=True, check=True)
    installed = tmp_path / "installed"
    wheel = next(copy.glob("*.whl"))
    import zipfile

    zipfile.ZipFile(wheel).extractall(installed)
    store = make_store()
    environment = os.environ | {
        "PYTHONPATH": str(installed), "CIM_STATE": str(store.settings.state), "CIM_DATABASE_URL": store.url,
    }  # fmt: skip
    where = "import services, sample_data; print(services.__file__, sample_data.__file__)"
    seen = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert seen.stdout.count(str(installed)) == 2, "the checkout stands before the wheel"
    sample = [sys.executable, "-m", "services", "sample", str(tmp_path / "city")]
    done = subprocess.run(sample, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "city/dataset.toml").exists()
    with serving(environment, tmp_path) as url, httpx.Client(base_url=url, timeout=30) as client:
        assert "<qgis" in client.get("/styles/building/qml").text
        assert client.get("/styles/building/maplibre").status_code == 200
        if not built.exists():
            pytest.skip("the viewer isn't built: make viewer")
        assert 'id="scene"' in client.get("/").text
