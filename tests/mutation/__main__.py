"""`python tests/mutation`: see `mutation.run`."""

import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:1] = [
    str(TESTS),
    str(TESTS.parent),
]  # this folder is the package `mutation`, the project lies above

if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"} | os.environ
    os.chdir(TESTS.parent)
    from mutation.run import main

    sys.exit(main())
