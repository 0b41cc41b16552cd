"""Benchmarks for asv: costs only, lower is better.

Torch reads number and wait policy of its threads when it is imported, so they are set here, before any benchmark does:
one thread, which a busy neighbour disturbs least. What the user set stays.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
