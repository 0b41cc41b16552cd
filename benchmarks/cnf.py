"""What a training step of a continuous normalizing flow costs; see `cnf_arms`, `cnf_peers` and `cnf_rate`.

`OMP_NUM_THREADS=1 python -m benchmarks.cnf` prints all of it.
"""

from __future__ import annotations

import statistics

import torch

from bench.stats import paired_ratio
from benchmarks import cnf_rate
from benchmarks.cnf_arms import ARMS, CnfSetting, trained_in_turns
from benchmarks.cnf_peers import PEERS, absence

SETTINGS = {"2-D": CnfSetting(2, (64, 64, 64), 512), "43-D": CnfSetting(43, (256, 256, 256), 1000)}
TRACKED = ("ours", "ours, compiled", "ours, tape, compiled", *PEERS)


class TrainingStep:
    """The cost of a training step from commit to commit, beside the peers that are installed."""

    timeout = 300.0
    params = (list(SETTINGS), list(TRACKED))
    param_names = ("setting", "arm")

    def setup(self, setting: str, arm: str) -> None:
        if arm in PEERS and (reason := absence(arm)):
            raise NotImplementedError(reason)  # which asv takes as: skip
        self.training = (ARMS | PEERS)[arm](SETTINGS[setting])
        next(self.training)

    def time_step(self, setting: str, arm: str) -> None:
        next(self.training)


def compare(setting: CnfSetting, steps: int) -> None:
    """Print for each arm: evaluations, time of a step and its share an evaluation, how often faster than the usual."""
    missing = {name: reason for name in PEERS if (reason := absence(name))}
    arms = ARMS | {name: arm for name, arm in PEERS.items() if name not in missing}
    timings = trained_in_turns({name: arm(setting) for name, arm in arms.items()}, steps)
    print(setting)
    for name, timing in timings.items():
        ratio = paired_ratio(timings["usual"].seconds, timing.seconds)
        milliseconds = 1000 * statistics.median(timing.seconds)
        print(
            f"  {name:20} NFE {timing.forward:3} + {timing.backward:3}  {milliseconds:8.1f} ms, "
            f"{milliseconds / (timing.forward + timing.backward):6.2f} an evaluation  "
            f"{ratio.mean:.2f}x, 95 % interval {ratio.low:.2f} to {ratio.high:.2f}"
        )
    for reason in missing.values():
        print(f"  skipped: {reason}")


def main() -> None:
    """Print the comparison at each setting, then the rates."""
    torch.set_num_threads(1)
    for setting, steps in zip(SETTINGS.values(), (30, 12)):
        compare(setting, steps)
    cnf_rate.main()


if __name__ == "__main__":
    main()
