"""Mutants that no test could notice, each with the reason; they are left out of the count."""

_SYMMETRIC = "the same in either order"
_LOOKS = "how a terminal looks"

EQUIVALENT: dict[str, dict[tuple[str, str, str], str]] = {
    "bench/execution/progress.py": {
        ("BarColumn(bar_width=24),", "24", "23"): _LOOKS,
    },
    "bench/measure/memory.py": {
        (
            "gc.collect()  # or garbage from before could change when the collector runs, and with it the peak",
            "gc.collect()",
            "pass",
        ): "it only keeps a rare coincidence away",
        ("if size > 0:", ">", ">="): "a request of no bytes changes nothing",
    },
    "bench/metrics/transport.py": {
        ('cost = cdist(x, y, "sqeuclidean")', "x, y", "y, x"): _SYMMETRIC,
        ("cross = kernel(x, y)", "x, y", "y, x"): "its transpose is added to it",
        ("n, rows = len(x), h.sum(axis=1)", "1", "0"): "h is symmetric",
        ("x, y = paired(samples, reference)", "samples, reference", "reference, samples"): _SYMMETRIC,
        (
            "return float(kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean())",
            "x, y",
            "y, x",
        ): _SYMMETRIC,
    },
}
"""source -> (text of the line, text before, text after) -> why no test can see it."""
