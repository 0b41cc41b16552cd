"""Mutants that no test could notice, each with the reason; they are left out of the count."""

_SYMMETRIC = "the same in either order"
_LOOKS = "how a terminal looks"
_MORE = "it looks at more than is needed, never at less"
_CHOICE = "a stated choice, of which others do as well"

EQUIVALENT: dict[str, dict[tuple[str, str, str], str]] = {
    "bench/execution/progress.py": {
        ("BarColumn(bar_width=24),", "24", "23"): _LOOKS,
        (
            "self.console.print(plain(line), markup=False, highlight=False, soft_wrap=True)",
            "True",
            "False",
        ): _LOOKS,
    },
    "bench/measure/memory.py": {
        (
            "gc.collect()  # or garbage from before could change when the collector runs, and with it the peak",
            "gc.collect()",
            "pass",
        ): "it only keeps a rare coincidence away",
        ("if size > 0:", ">", ">="): "a request of no bytes changes nothing",
    },
    "bench/verdict.py": {
        (
            "return estimate, tuple(scale * x for x in samples[0])",
            "0",
            "-1",
        ): "where there are two samples, nobody reads them",
    },
    "bench/execution/cores.py": {
        ("word.isdigit() and int(word) > 0 for word in words", "0", "1"): "no kernel grants a time so short",
    },
    "bench/report/rounding.py": {
        (
            "ends = zip((value, low, high), (ROUND_HALF_EVEN, ROUND_FLOOR, ROUND_CEILING), strict=True)",
            "True",
            "False",
        ): "both have three",
        (
            "return x.quantize(Decimal(1).scaleb(place), rounding, _EXACT)",
            "1",
            "0",
        ): "only the exponent counts",
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
    "bench/metrics/classification.py": {
        (
            "classifier = HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=0)",
            "0",
            "1",
        ): "any fixed seed does",
    },
    "bench/metrics/fidelity/quality.py": {
        ("if min(samples.ndim, reference.ndim) > 0:", "0", "1"): "a single axis is refused a line later",
        (
            "[distance(statistics, of_y) for statistics in _without_groups(x, rng)],",
            "statistics, of_y",
            "of_y, statistics",
        ): _SYMMETRIC,
        (
            'options = {"kid_subsets": SUBSETS, "kid_subset_size": m, "rng_seed": _seed(rng), "verbose": False}',
            "False",
            "True",
        ): _LOOKS,
    },
    "bench/metrics/fidelity/features.py": {
        (
            "extractor.name, list(extractor.layers), cuda=False, verbose=False, **options",
            "False",
            "True",
        ): _LOOKS,
    },
    "bench/metrics/fidelity/points.py": {
        ("NODES = 128", "128", "127"): "as exact with a node less",
    },
    "bench/data/toy2d.py": {
        (
            "return 2 * (_half_circles(n, rng) + rng.normal(0, 0.05, (n, 2))) - (1.0, 0.0)",
            "+",
            "-",
        ): "the noise is symmetric",
    },
    "replications/flows/ode/controller.py": {
        (
            "h_0 = TINY if d_0 < 1e-5 or d_1 < 1e-5 else 0.01 * d_0 / d_1",
            "<",
            "<=",
        ): "no rounded norm meets it",
        (
            "h_1 = max(TINY, 1e-3 * h_0) if largest <= 1e-15 else (0.01 / largest) ** (1 / order)",
            "1e-3",
            "0.002",
        ): "where it is taken, h_0 is TINY already",
    },
    "replications/flows/ode/adjoint.py": {
        (
            "method, options = method_of(solver, field.sign * times.flip(0))",
            "*",
            "/",
        ): "a sign is its own reciprocal",
        (
            "check_repetition(again, before.value, before.value)",
            "again, before.value",
            "before.value, again",
        ): "they differ in what is not finite alone, which ends in a divergence",
        ("if field.is_due and states.grad_fn is not None:", "and", "or"): _MORE,
    },
    "replications/flows/ode/checkpoint.py": {
        ("if checks.repeats and kept is None:", "and", "or"): _MORE,
    },
    "replications/flows/ode/gradients.py": {
        (
            "return self._steps(integrator)(y, Checkpoints(keep=False))",
            "False",
            "True",
        ): "what is kept is thrown away with the solve",
    },
    "replications/flows/ode/products.py": {
        ("return best[self.other] < GAIN * best[torch.mm]", "<", "<="): "no two times are so equal",
    },
    "replications/flows/training/log.py": {
        (
            "return ends, [mean_over_points(values[i:j], own[i:j]) for i, j in zip(starts, ends, strict=True)]",
            "True",
            "False",
        ): "an end for each start",
    },
    "replications/flows/ode/guards.py": {
        ("self.sign = 1.0 if t1 > t0 else -1.0", ">", ">="): "where both are equal nothing is solved",
    },
    "replications/flows/ode/integrate.py": {
        (
            "since, start, when = now(), _leaves(step.start), moment(nodes, step.t, step.size, step.start[0])",
            "0",
            "-1",
        ): "all of them are of one type on one device",
    },
    "replications/flows/ode/memory.py": {
        ("SHARE = 0.25", "0.25", "0.5"): _CHOICE,
    },
    "replications/flows/ode/repetition.py": {
        (
            "if not (again - before).abs().max() <= torch.finfo(low).eps ** 0.5 * change.abs().max() + rounding:",
            "<=",
            "<",
        ): "equal numbers have returned above, no others meet it",
        (
            "drawn = any(not torch.equal(a, b) for a, b in zip(snapshot.generators, self._generators()))",
            "snapshot.generators, self._generators()",
            "self._generators(), snapshot.generators",
        ): _SYMMETRIC,
        (
            "a.is_floating_point() and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)",
            "a, b",
            "b, a",
        ): _SYMMETRIC,
        ("return torch.equal(a, b) or (", "a, b", "b, a"): _SYMMETRIC,
        (
            "if torch.equal(again, before) or not torch.isfinite(before).all():  # the solve has diverged, and says so",
            "again, before",
            "before, again",
        ): _SYMMETRIC,
    },
    "replications/flows/density/evaluate.py": {
        ("WARMING = 2", "2", "1"): _CHOICE,
        ("REFERENCE_TOLERANCE = 1e-8", "1e-8", "2e-08"): "as exact as the digits that are compared",
    },
    "replications/tasks/density2d/evaluation.py": {
        ("return Distances(wasserstein2(x, y), *mmd(x, y), *c2st(x, y, rng))", "x, y", "y, x"): _SYMMETRIC,
        (
            'found = distances(samples, data, run.numpy_generator("c2st"))',
            "samples, data",
            "data, samples",
        ): _SYMMETRIC,
    },
    "replications/tasks/images/evaluation.py": {
        ("self.levels = round(train.white) + 1", "train", "test"): "the parts of a set have the same white",
    },
}
"""source -> (text of the line, text before, text after) -> why no test can see it."""
