"""What holds for all tests.

One thread for each library's arithmetic: tests run beside each other, and threads that wait for a core spin.
"""

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before anything loads them; processes that tests start inherit it
