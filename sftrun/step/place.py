"""Where rows are tokenised and packed: from which size on apart from the GPU, and what the container for it is.

Modal starts that container, the job makes a process of its own, and the plan prices both.
"""

from typing import Final

# some 9,000 rows: fewer are tokenised before another container has started
WORTH_A_CONTAINER_BYTES: Final = 4_000_000
# some 17,000 rows: fewer are tokenised before another process has its imports
WORTH_A_PROCESS_BYTES: Final = 8_000_000
CORES: Final = 4.0
MEMORY_MIB: Final = 4096
