"""How long tests wait for what has to come: longer than anything takes on a busy machine.

A wait ends when its state is there.  What has not come by then never will.
"""

import os

SECONDS = 1200.0


def as_far_off(seconds: float) -> float:
    """A limit that a run is to meet at work, put off by as much as other work keeps this machine's cores from it."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
