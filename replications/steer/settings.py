"""What STEER's experiments set: the method alone and on top of RNODE, beside both without it.

b is that of the authors' code for flows on [0, 1], T ~ U(0.25, 1.75). The end time is not learned, as in RNODE.
"""

from __future__ import annotations

from replications.rnode.settings import FFJORD, RNODE, Settings

STEER: Settings = {"b": 0.75}
METHODS: dict[str, Settings] = {
    "ffjord": FFJORD | {"b": 0.0},
    "steer": FFJORD | STEER,
    "rnode": RNODE | {"b": 0.0},
    "rnode_steer": RNODE | STEER,
}
