"""Locks of a folder that is being prepared, by one process as a whole or by several jobs that prepare a share each.

Whoever prepares the whole folder holds `.lock` all the time, and a job holds the lock of its share. Jobs begin and
complete the folder one after the other, through a gate: while one is in it, no other begins, and none completes it.
"""

import errno
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from data_prep.files import PARTIALS, remove_matching
from data_prep.lock import LOCK, FolderInUseError, locked
from data_prep.share import Share
from data_prep.store.manifest import StoreError

GATE = ".lock-gate"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of file systems without locks."""
SHARES = ".lock-*-of-*"
"""Pattern of the locks of shares."""


@contextmanager
def whole(out: Path) -> Iterator[None]:
    """Create the folder if necessary, and hold all of it.

    Raises:
        FolderInUseError: another process is preparing it, or a share of it.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, None):
        if (out / GATE).exists():  # a job enters the gate before it looks at `.lock`, and is seen here or sees it there
            with gate(out):
                refuse_while_held(out, [path.name for path in out.glob(SHARES)])
                forget_jobs(out)
        remove_matching(out, PARTIALS)
        yield


@contextmanager
def gate(out: Path) -> Iterator[None]:
    """Create the folder if necessary, and wait until no other job is in its gate.

    Raises:
        StoreError: the file system has no locks, without which two jobs might complete the folder at once.
    """
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locked(out, None, GATE, waits=True, is_needed=True))
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            raise StoreError(
                f"{out}: its file system has no locks ({error.strerror}), which --part needs; choose a folder on "
                "another one, or prepare it without --part."
            ) from error
        yield


@contextmanager
def one_share(out: Path, share: Share) -> Iterator[None]:
    """Hold a share. The caller enters it in the gate, and may leave the gate before it.

    Raises:
        FolderInUseError: another process is preparing it, or the whole folder.
    """
    refuse_while_held(out, [LOCK])
    with locked(out, None, share.lock, is_needed=True):
        yield


def is_in_use(out: Path, n_shares: int) -> bool:
    """Return whether any process is preparing the folder or a share of it. The caller is in the gate."""
    with suppress(FolderInUseError):
        # by their names: a list of the folder's files that a network file system caches may lack new ones
        refuse_while_held(out, [LOCK, *(Share(index, n_shares).lock for index in range(1, n_shares + 1))])
        return False
    return True


def refuse_while_held(out: Path, locks: Iterable[str]) -> None:
    """Raise FolderInUseError if another process holds one of these locks."""
    for name in locks:
        with locked(out, None, name):
            pass


def forget_jobs(out: Path) -> None:
    """Remove the locks of shares, and the partial files of killed jobs. The caller is in the gate, and no job works."""
    remove_matching(out, SHARES)
    remove_matching(out, PARTIALS)
