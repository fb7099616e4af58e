"""A worker that is killed at the second part. Each worker imports this module, and no test's imports with it."""

import os
import signal

from ecgmtl.inference.parts import predict_part


def kill_itself(job, number, files):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return predict_part(job, number, files)
