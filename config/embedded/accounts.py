"""The account that runs PostgreSQL, and its access to paths.

PostgreSQL refuses to run as root. A root supervisor therefore drops to an account that exists already; none is
added, and no directory that Cuebook did not create has its mode changed.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

CANDIDATES = ("postgres", "nobody")


class NoAccountError(Exception):
    """Running as root, and no unprivileged account exists to drop to."""


@dataclass(frozen=True)
class Account:
    name: str
    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Give the account a path that we created, with all below it."""
        os.chown(path, self.uid, self.gid)
        for directory, names, files in os.walk(path):
            for name in (*names, *files):
                os.chown(Path(directory, name), self.uid, self.gid, follow_symlinks=False)


def unprivileged_account() -> Account | None:
    """Return the account to drop to, or None where we are not root and need none."""
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise NoAccountError(
        f"Cuebook runs as root here, PostgreSQL must not, and none of the accounts {', '.join(CANDIDATES)} exists. "
        "Start Cuebook as an ordinary user."
    )


def can_reach(path: Path, account: Account | None) -> bool:
    """Return whether `account` may pass through every directory above `path` (None: this process's own, which can)."""
    return account is None or all(_may_enter(parent, account) for parent in path.resolve().parents)


def _may_enter(directory: Path, account: Account) -> bool:
    if not directory.exists():
        return True
    status = directory.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
