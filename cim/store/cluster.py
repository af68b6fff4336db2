"""The private PostgreSQL cluster of a state folder: found, made, started, and stopped by whoever leaves last.

It listens on a unix socket in a folder that only its user may enter, with trust authentication and no TCP. Every
process of ours holds a shared lock on the state folder; the last one out stops the cluster, unless
`cim db start` asked it to stay.
"""

import fcntl
import hashlib
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cim.config import Settings
from cim.errors import MissingProgram, NoDatabase
from cim.messages import say

SUPERUSER, OWNER, SERVER = "postgres", "cim_owner", "cim_server"
DATABASE = "cim"
SOCKET_PATH_LIMIT = 107  # bytes of sockaddr_un.sun_path, the closing zero not counted
INSTALL = "apt-get install -y --no-install-recommends postgresql-postgis"

# Durable, and sized for a machine that also runs the tiler. jit costs more than it brings on queries of milliseconds.
_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
    "work_mem": "32MB",
    "max_wal_size": "2GB",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}


@dataclass(frozen=True)
class Cluster:
    """A private cluster: where its files lie, and as whom it runs."""

    folder: Path  # holds data/, log and the socket
    pg_bin: Path
    user: str | None  # None: as the caller

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.folder / "data"

    def url(self, role: str, database: str = DATABASE) -> str:
        """Return the connection string of a role; there is no password to know."""
        return f"host={self.folder} user={role} dbname={database}"


def locate(settings: Settings) -> Cluster:
    """Return the private cluster of a state folder, whether or not it exists yet.

    It lies in the state folder. Where the user that PostgreSQL runs as can't reach that, or the path is too long for
    a socket, it lies in a system folder of its own, and `cluster.path` in the state folder says where.
    """
    settings.state.mkdir(parents=True, exist_ok=True)
    user = "postgres" if os.geteuid() == 0 else None
    pg_bin = settings.pg_bin or find_pg_bin()
    pointer = settings.state / "cluster.path"
    if pointer.exists():
        return Cluster(Path(pointer.read_text("utf-8").strip()), pg_bin, user)
    folder = settings.state / "pg"
    socket = os.fsencode(folder / ".s.PGSQL.5432")
    if len(socket) > SOCKET_PATH_LIMIT or (user and not _reachable(settings.state, user)):
        name = hashlib.sha256(os.fsencode(settings.state.resolve())).hexdigest()[:16]
        base = Path("/var/lib/cim") if user else Path(f"/var/tmp/cim-{os.geteuid()}")  # noqa: S108 - made 0700 below
        folder = base / name
        _write_whole(pointer, f"{folder}\n")
    return Cluster(folder, pg_bin, user)


def find_pg_bin() -> Path:
    """Return the folder of initdb and pg_ctl: the distribution's newest first, then PATH.

    Raises:
        MissingProgram: PostgreSQL's server, or PostGIS for it, isn't installed.

    """
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]), reverse=True)
    for initdb in versions:
        if Path(f"/usr/share/postgresql/{initdb.parts[-3]}/extension/postgis.control").exists():
            return initdb.parent
    if not versions and (on_path := shutil.which("initdb")):
        return Path(on_path).parent
    missing = "PostGIS for the installed PostgreSQL" if versions else "PostgreSQL with PostGIS"
    raise MissingProgram(say("not-installed", subject=missing, install=INSTALL))


@contextmanager
def running(settings: Settings) -> Iterator[Cluster]:
    """Keep the private cluster up for as long as the block runs; the last process out stops it."""
    cluster = locate(settings)
    with _state_lock(settings.state) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        with _state_lock(settings.state, "start.lock") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            start(cluster)
        try:
            yield cluster
        finally:
            _stop_if_last(cluster, settings.state, lock)


_PATIENCE = 120  # half seconds


def start(cluster: Cluster) -> None:
    """Make the cluster if it isn't there, and start it if it isn't up. May be called again at any time.

    Raises:
        NoDatabase: it doesn't start; the message carries the end of its log.

    """
    _make(cluster)
    if is_up(cluster):
        return
    _drop_stale_pid(cluster)
    settings = [f"-c {name}={value}" for name, value in _OPTIONS.items() if value]
    options = " ".join(["-c listen_addresses=''", f"-c unix_socket_directories='{cluster.folder}'", *settings])
    command = ["pg_ctl", "-D", str(cluster.data), "-l", str(cluster.folder / "log"), "-w", "-t", "60", "-o", options]
    for attempt in range(_PATIENCE):
        outcome = _run(cluster, [*command, "start"])
        if outcome.returncode == 0 or is_up(cluster):
            return
        # after a kill -9 of the postmaster its children still hold the shared memory for a moment; one that is being
        # stopped takes as long as its last checkpoint
        if attempt > _PATIENCE // 6 and not (cluster.data / "postmaster.pid").exists():
            break
        time.sleep(0.5)
    log = cluster.folder / "log"
    tail = log.read_text("utf-8", "replace")[-800:] if log.exists() else outcome.stderr
    raise NoDatabase(say("private-postgresql-not-start", folder=cluster.folder, tail=tail))


def stop(cluster: Cluster) -> None:
    """Stop the cluster; work under way is rolled back."""
    if cluster.data.exists() and is_up(cluster):
        _run(cluster, ["pg_ctl", "-D", str(cluster.data), "-m", "fast", "-w", "stop"])


def is_up(cluster: Cluster) -> bool:
    """Whether the postmaster of this cluster answers."""
    command = [str(cluster.pg_bin / "pg_isready"), "-q", "-h", str(cluster.folder), "-U", SUPERUSER]
    return subprocess.run(command, check=False).returncode == 0


def keep_up(settings: Settings, *, keep: bool) -> None:
    """Say whether the cluster stays up after the last process of ours has left."""
    marker = settings.state / "keep-up"
    if keep:
        marker.touch()
    else:
        marker.unlink(missing_ok=True)


def _make(cluster: Cluster) -> None:
    """Run initdb into a temporary folder and rename it: a killed initdb leaves nothing that looks like a cluster."""
    if (cluster.data / "PG_VERSION").exists():
        _check_version(cluster)
        return
    cluster.folder.mkdir(parents=True, exist_ok=True)
    cluster.folder.chmod(0o700)
    fresh = cluster.folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    if cluster.user:
        account = pwd.getpwnam(cluster.user)
        os.chown(cluster.folder, account.pw_uid, account.pw_gid)
    arguments = [
        "-A",
        "trust",
        "-U",
        SUPERUSER,
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
        "--no-instructions",
        "-D",
        str(fresh),
    ]
    outcome = _run(cluster, ["initdb", *arguments])
    if outcome.returncode:
        raise NoDatabase(say("initdb-failed", folder=cluster.folder, stderr=outcome.stderr.strip()))
    fresh.rename(cluster.data)


def version_of(cluster: Cluster) -> str:
    """Return the major version of PostgreSQL that made the cluster."""
    return (cluster.data / "PG_VERSION").read_text("utf-8").strip()


def bin_of_data(cluster: Cluster) -> Path:
    """Return the programs of the version that made the cluster.

    Raises:
        MissingProgram: they aren't installed.

    """
    version = version_of(cluster)
    if f" {version}." in _run(cluster, ["postgres", "--version"]).stdout:
        return cluster.pg_bin
    folder = Path(f"/usr/lib/postgresql/{version}/bin")
    if not (folder / "pg_ctl").exists():
        raise MissingProgram(
            say("cluster-was-made-postgresql-whose-programs-not", folder=cluster.folder, version=version)
        )
    return folder


def _check_version(cluster: Cluster) -> None:
    version = version_of(cluster)
    outcome = _run(cluster, ["postgres", "--version"])
    if f" {version}." in outcome.stdout:
        return
    raise NoDatabase(
        say("cluster-was-made-postgresql", folder=cluster.folder, version=version, split=outcome.stdout.split()[2])
    )


def _run(cluster: Cluster, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program of PostgreSQL as the cluster's user; its output goes to files, which a daemon may keep open."""
    account = pwd.getpwnam(cluster.user) if cluster.user else None
    log = cluster.folder / "pg_ctl.out"
    with log.open("w+", encoding="utf-8") as output:
        done = subprocess.run(
            [str(cluster.pg_bin / command[0]), *command[1:]],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            cwd="/",
            check=False,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            start_new_session=True,  # Ctrl-C is for us; the cluster is stopped in order afterwards
        )
    text = log.read_text("utf-8", "replace")
    return subprocess.CompletedProcess(command, done.returncode, text, text)


def _drop_stale_pid(cluster: Cluster) -> None:
    """Remove a pid file whose process is gone, or is another program that got the same number."""
    file = cluster.data / "postmaster.pid"
    if not file.exists():
        return
    pid = file.read_text("utf-8").split("\n", 1)[0].strip()
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        command = b""
    if os.fsencode(cluster.data) not in command:
        file.unlink(missing_ok=True)


@contextmanager
def _state_lock(state: Path, name: str = "lock") -> Iterator[int]:
    lock = os.open(state / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield lock
    finally:
        os.close(lock)


def _stop_if_last(cluster: Cluster, state: Path, lock: int) -> None:
    """Stop the cluster if no other process holds the state folder's lock."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if not (state / "keep-up").exists():
        stop(cluster)


def _reachable(folder: Path, user: str) -> bool:
    """Whether `user` may traverse every folder above `folder`."""
    account = pwd.getpwnam(user)
    for part in [folder.resolve(), *folder.resolve().parents]:
        status = part.stat()
        bit = 0o100 if status.st_uid == account.pw_uid else 0o010 if status.st_gid == account.pw_gid else 0o001
        if not status.st_mode & bit:
            return False
    return True


def _write_whole(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text, "utf-8")
    fresh.replace(path)
