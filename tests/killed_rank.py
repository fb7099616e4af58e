"""`ecgmtl` as a process of torchrun. The second is killed at its fifth step, once; then the first one starts late."""

import os
import signal
import time
from itertools import count

from ecgmtl.cli import main
from ecgmtl.ranks import was_restarted
from ecgmtl.training.step import Learner

FIFTH = 4


def dying(step):
    """Return a function that is killed at its fifth call."""
    calls = count()

    def counted(*arguments):
        if next(calls) == FIFTH:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*arguments)

    return counted


if __name__ == "__main__":
    first = os.environ["RANK"] == "0"
    if was_restarted() and first:
        time.sleep(2)  # so that the other one would find the address of the process before
    if not was_restarted() and not first:
        Learner.step = dying(Learner.step)
    main()
