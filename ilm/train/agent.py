"""`torchrun` as the pipeline's steps start it: what its processes tell (`ilm.train.messages`) is told by the step.

So its own tracebacks and logs are left out: a process that ended badly ends it with exit code 1, silently.
"""

import logging
import sys

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

FAILED, NOT_STARTED = 1, 3


def main() -> None:
    """Run `torchrun` with this process's arguments."""
    logging.disable()
    try:
        run.main(sys.argv[1:])
    except (ChildFailedError, SignalException):
        sys.exit(FAILED)
    except Exception as error:  # the rendezvous: host unknown, port taken, nobody came
        print(f"torchrun: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(NOT_STARTED)


if __name__ == "__main__":
    main()
