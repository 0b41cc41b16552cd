"""Records of the made-up paper, as its runs would leave them."""

from bench.identity import identify
from bench.metrics.catalogue import metric, split_key
from bench.record import Measured, Record

ENVIRONMENT = {
    "commit": "0123456789abcdef", "dirty": False, "versions": {"torch": "2.0", "python": "3.11"},
    "cpu": "Test CPU", "cores": 2, "threads": 1, "device": "cpu", "gpu": None,
    "jobs": 1,
}  # fmt: skip


def made(experiment, variant, seed, metrics=(), tier="cpu", status="done", **more):
    """A record as a run would leave it; metrics are (key, value) or (key, value, protocol)."""
    values = {
        key: Measured(value, metric(split_key(key)[0]).unit, protocol[0] if protocol else "p/1")
        for key, value, *protocol in metrics
    }
    identity = identify(experiment, variant, tier, seed)
    return Record(identity, status, metrics=values, environment=ENVIRONMENT, **more)


def three_seeds(experiment, variant, values, **more):
    return [
        made(experiment, variant, s, [("max_error", v), ("nfe", 7)], **more) for s, v in enumerate(values)
    ]
