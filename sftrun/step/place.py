"""Where rows are tokenised and packed: from which size on apart from the GPU, and what the container for it is.

Modal starts that container, the job makes a process of its own, and the plan prices both.
"""

from typing import Final

from sftrun.contract.engines import Engine
from sftrun.contract.stepplan import Place

# some 9,000 rows: fewer are tokenised before another container has started
WORTH_A_CONTAINER_BYTES: Final = 4_000_000
# some 17,000 rows: fewer are tokenised before another process has its imports
WORTH_A_PROCESS_BYTES: Final = 8_000_000
# of a row's file, a token of what it becomes (91 MB of the census' form are 40.7 million, docs/data.md)
BYTES_A_TOKEN: Final = 2.3
CORES: Final = 4.0
MEMORY_MIB: Final = 4096


def preparing(is_rented: bool, engine: Engine, from_hub: bool, size: float | None) -> Place:
    """Where; `size`: bytes of the rows' files, None where nothing is known of them."""
    large = from_hub or size is None
    if is_rented:
        return "container" if large or (size or 0) >= WORTH_A_CONTAINER_BYTES else "job"
    if engine.first_import is not None:  # which changes what tokenizers are, here and not there
        return "job"
    return "process" if large or (size or 0) > WORTH_A_PROCESS_BYTES else "job"


def without_container(engine: Engine) -> Place:
    """Where the job makes them itself, should the container's not be there."""
    return "process" if engine.first_import is None else "job"
