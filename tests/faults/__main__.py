"""`python tests/faults`: see `faults.run`."""

import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(TESTS), str(TESTS / "fake"), str(TESTS.parent)]

if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"} | os.environ
    from faults.run import main

    sys.exit(main())
