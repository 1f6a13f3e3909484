"""Before anything else: a small process that ends this worker's group when Motley is gone, however it went and whatever hangs here."""

import os
import select
import signal
import time


def guard():
    if os.fork():
        return
    try:
        os.close(0)  # The conversation is the worker's alone, so that its end is seen when the worker dies.
        gone = select.poll()
        gone.register(1, 0)  # The pipe's other end is Motley's alone: this end breaks when Motley ends.
        gone.poll()
        time.sleep(1.5)  # The worker may close its environments first.
    finally:
        os.killpg(0, signal.SIGKILL)


guard()
