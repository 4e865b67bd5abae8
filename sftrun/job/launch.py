"""torchrun's agent, which dies with the supervisor, and its workers with it.

torchrun closes the descriptors of the processes that it starts: the pipe for events stays open here, and they find it
by the name of this process.
"""

import os

from sftrun.job.process import EVENTS, OWN_DESCRIPTORS, guard

if __name__ == "__main__":
    guard()
    os.environ[EVENTS] = os.environ[EVENTS].replace(OWN_DESCRIPTORS, f"/proc/{os.getpid()}/fd/")
    from torch.distributed.run import main

    main()
