"""Planted faults in the harness: statistics, verdicts, `verify`, the time left, clocks, memory, metrics, data."""

FAULTS: dict[tuple[str, str], dict[str, tuple[str, str]]] = {
    ("bench/stats.py", "test_stats"): {
        "standard deviation over n": ("x.std(ddof=1)", "x.std(ddof=0)"),
        "standard deviation for a standard error": (" / math.sqrt(x.size)", ""),
        "quantile of one side": ("(1 + level) / 2))", "level))"),
        "as many degrees of freedom as values": (
            "student_t(x.size - 1, level)",
            "student_t(x.size, level)",
        ),
        "arithmetic mean of ratios": ("_log(x) - _log(y), level", "np.log(1 + x) - np.log(1 + y), level"),
        "error of a slope over n points": ("/ (u.size - 2) / spread", "/ u.size / spread"),
        "bootstrap without replacement": (
            "generator.integers(x.size, size=x.size)",
            "generator.permutation(x.size)",
        ),
    },
    ("bench/claim.py", "test_verdict"): {
        "margin: tolerance of nothing": ("target - self.tolerance * abs(target)", "target - self.tolerance"),
        "margin: not the reciprocal's": ("target / (1 + self.tolerance)", "target * (1 - self.tolerance)"),
        "margin: the absolute one forgotten": ("if self.tolerance_abs is not None:", "if False:"),
    },
    ("bench/verdict.py", "test_verdict test_evidence test_seeds"): {
        "the mean settles a bound": ("found = side(interval, limit)", "found = side(estimate(0.01), limit)"),
        "a ratio upside down": (
            "_scaled(quotient, claim.scale, a, b)[0]",
            "_scaled(quotient, claim.scale, b, a)[0]",
        ),
        "the scale forgotten": (
            "scaled(estimator(*samples, level), scale)",
            "scaled(estimator(*samples, level), 1.0)",
        ),
        "quotients averaged as they are": (
            "quotient = paired_ratio if min(*a, *b) > 0 else fieller_ratio",
            "quotient = fieller_ratio",
        ),
        "the claim's own tier not asked for": (
            "TIERS.index(evidence.tier) < TIERS.index(claim.tier)",
            "False",
        ),
        "lower is better for all": (
            '{"lower": "below", "higher": "above"}',
            '{"lower": "below", "higher": "below"}',
        ),
        "smoke records settle": ('if r.identity.tier != "smoke" and not', "if not"),
        "overridden records settle": ("and not r.identity.overrides and", "and"),
        "records that may not settle it settle it": ("if evidence.refusal:", "if False:"),
        "numbers of two kinds put together": ("if evidence.mixed:", "if False:"),
        "sharing: shared times settle": ("if evidence.shared:", "if False:"),
        "one seed settles by chance": ("if not claim.deterministic:", "if False:"),
        "lost seeds do not count": (
            "if found is not None and found in _pushed",
            "if False and found in _pushed",
        ),
        "lost seeds count for their side": ('{"lower": 1, "higher": -1}', '{"lower": -1, "higher": 1}'),
        "lost seeds of the other side count as one's own": (
            "[(evidence.other, -1)]",
            "[(evidence.other, 1)]",
        ),
        "independent seeds paired": ("if not evidence.paired:", "if False:"),
        "one family for all papers": ("if v.claim.paper == paper and", "if"),
        "p of one of two tests": ("2 * min(tests)", "min(tests)"),
    },
    ("bench/evidence.py", "test_verdict test_evidence test_seeds"): {
        "lowest tier first": ("for tier in reversed(TIERS)", "for tier in TIERS"),
        "numbers of two derivations of seeds together": (
            ' and ("schema" in identity.seeded_by) == old',
            "",
        ),
        "seeds beyond the declared ones": ("identity.seed < n", "identity.seed >= 0"),
        "fewer seeds than declared": ("missing := n - len(each.records)", "missing := 0"),
        "a run that diverged counts": ('if r.status == "done" and key in r.metrics', "if key in r.metrics"),
        "protocols averaged": ("len(each.protocols) > 1", "len(each.protocols) > 9"),
        "protocols compared": ("if claim.across else", "if True else"),
        "protocols: compiled beside eager": (
            "for each in (side, other)}) > 1:",
            "for each in (side, other)}) > 2:",
        ),
        "protocols: those of the other side not looked at": (
            "    for each in (side, other):\n        if each is not None and len(each.protocols) > 1:",
            "    for each in (side,):\n        if each is not None and len(each.protocols) > 1:",
        ),
        "sharing: the other side not looked at": (
            "records = (*side.records, *(other.records if other else ()))\n    found = {r.identity.seed",
            "records = side.records\n    found = {r.identity.seed",
        ),
        "sharing: of every metric": ("if not any(is_time(key) for key in", "if not any(True for key in"),
        "machines put together": ("if len(found) > 1:", "if len(found) > 9:"),
        "threads do not matter": (", {e.get('threads', '?')} threads", ""),
        "any inversion will do": ("if measured.value > bound:", "if measured.value > 1e9:"),
        "no inversion will do": ("if not errors:", "if False:"),
        "one tolerance for all": ("float(named[1]) if named else 1e-5", "1e-5"),
        "a GPU's time by a CPU": ('found != {"cuda"}', 'found == {"cpu", "cuda"}'),
        "a GPU's time by a CPU, derived": ("if elsewhere(claim, evidence):", "if False:"),
    },
    ("bench/inference.py", "test_inference"): {
        "equivalence at twice the rate": ("estimate(2 * level - 1)", "estimate(4 * level - 3)"),
        "equivalence by the mean": (
            "low <= narrow.low and narrow.high <= high",
            "low <= narrow.mean <= high",
        ),
        "beyond by a narrow interval": ("wide = estimate(level)", "wide = estimate(0.5)"),
        "Welch: equal scatter": ("(x.size - 1) + v**2", "x.size + v**2"),
        "Fieller: no covariance": ("middle = top * bottom - v_ab", "middle = top * bottom"),
        "Fieller: a variance of one seed": ("level) ** 2 / n", "level) ** 2"),
        "families: Bonferroni's": ("k * rate / len(order)", "rate / len(order)"),
        "families: every p below the rate": ("k * rate / len(order)", "rate"),
        "power: of a known scatter": ("abs(effect) * math.sqrt(n)", "abs(effect)"),
    },
    ("bench/power.py", "test_power"): {
        "scatter of the mean for that of a seed": (" * math.sqrt(interval.n) /", " /"),
        "equality at twice the rate": ("student_t(n - 1, 0.9)", "student_t(n - 1, 0.8)"),
        "quotients on a plain scale": ("log = is_quotient(claim) and interval.low > 0", "log = False"),
    },
    ("bench/campaign/cost.py", "test_campaign"): {
        "failed runs in the mean": ('[r for r in records if r.status == "done"] or records', "records"),
        "what was interrupted starts afresh": ("cost.seconds - begun", "cost.seconds"),
    },
    ("bench/campaign/order.py", "test_campaign"): {
        "the shared side is paid twice": ("needs - best for claim", "needs for claim"),
        "most claims first, whatever they cost": ("-n / max(seconds, 1.0)", "-n"),
    },
    ("bench/execution/budget.py", "test_campaign"): {
        "a run that ends too late": ("<= self.ends", "<= 2 * self.ends"),
    },
    ("bench/margin.py", "test_margin"): {
        "any margin has a reason": ("            if not reason:\n", "            if False:\n"),
        "a spread for its triple": ("DEVIATIONS * float(printed[1])", "float(printed[1])"),
    },
    ("bench/report/corrections.py", "test_report"): {
        "a factor on a plain scale": ("math.exp(effect)", "1 + effect"),
    },
    ("bench/record.py", "test_evidence"): {
        "sharing: a record that does not say was alone": (
            "return None\n        return",
            "return None\n        return None if jobs is None else",
        ),
        "sharing: the number of runs not looked at": ("if jobs == 1:", "if jobs is not None:"),
        "sharing: what the record says not looked at": ('if "shared" in self.environment:', "if False:"),
    },
    ("bench/metrics/catalogue.py", "test_verify"): {
        "verify: counts are of the machine": ('"overhead", "ratio"})', '"overhead", "ratio", "nfe"})'),
        "verify: errors are of the machine": ('{"resident_memory",', '{"resident_memory", "max_error",'),
        "verify: times must repeat": ("not is_time(key) and split_key", "split_key"),
    },
    ("bench/metrics/catalogue.py", "test_evidence"): {
        "time: not by the step": ('any("s" in unit.split("/")', 'any("s" == unit'),
        "time: not in what is compared": ("    if found.compares:\n", "    if False:\n"),
        "time: a part of a word": ('[a-z][a-z0-9_]*", qualifier', '[a-z]{1,4}", qualifier'),
        "time: an overhead of nothing named is none": ("or [found.default]", 'or [""]'),
    },
    ("bench/report/measured.py", "test_report"): {
        "table: shared times not marked": (
            "timed = is_time(self.key) and record.shared is not None",
            "timed = False",
        ),
        "table: every number of a shared run marked": ("timed = is_time(self.key) and", "timed ="),
        "table: the CSV names what every number shared": (
            "record.shared if is_time(key) else None",
            "record.shared",
        ),
    },
    ("bench/verify.py", "test_verify"): {
        "verify: ten times the tolerance": ("rel_tol=tolerance", "rel_tol=10 * tolerance"),
        "verify: an absolute tolerance that lets small numbers move": ("abs_tol=1e-9", "abs_tol=1e-6"),
        "verify: exit code 0 where a metric moved": ("1 if stale or moved else 0", "1 if stale else 0"),
        "verify: exit code 0 where a file is stale": ("1 if stale or moved else 0", "1 if moved else 0"),
        "verify: a metric that is gone did not move": ("if now is None or not", "if now is not None and not"),
        "verify: runs whose data is absent": ("is not None for name", "is not name for name"),
        "verify: files that are no more pass": (
            "names |= {Path(name) for",
            "names &= {Path(name) for",
        ),
    },
    ("bench/execution/progress.py", "test_progress"): {
        "time left: not shared by the workers": ("return left / self.workers", "return left"),
        "time left: a run that goes on counts whole": ("expected - (now - begun)", "expected"),
        "time left: negative for a run that is late": (
            "max(0.0, expected - (now - begun))",
            "expected - (now - begun)",
        ),
        "time left: the sum for what is not known": (") / len(self.took) if", ") if"),
        "time left: of another variant": (
            "self.took[job.identity.experiment, job.identity.variant]",
            'self.took[job.identity.experiment, ""]',
        ),
    },
    ("bench/measure/load.py", "test_load"): {
        "load: one's own time is foreign": ("(busy - self._busy) - (own - self._own)", "busy - self._busy"),
        "load: one's own time of all time": ("(own - self._own)", "own"),
        "load: children's time is foreign": ("int(words[11]) + int(words[13])", "int(words[11])"),
        "load: system time for user time": ("int(words[11]) +", "int(words[12]) +"),
        "load: a parent's own session": (
            "os.getsid(0) if session is None else session",
            "os.getsid(0)",
        ),
        "load: other sessions are one's own": ("if int(words[3]) == session:", "if True:"),
        "load: stolen time is nobody's": ("(user + nice + steal)", "(user + nice)"),
        "load: alone above the share": ("if foreign > FOREIGN_SHARE else", "if foreign < FOREIGN_SHARE else"),
        "load: two runs are one": ("if self._jobs > 1:", "if self._jobs > 2:"),
        "load: not divided by the time": ("max(0.0, others) / wall", "max(0.0, others)"),
        "load: a run cut off was alone": ('"shared": UNFINISHED', '"shared": None'),
    },
    ("bench/execution/cores.py", "test_cores"): {
        "cores: the quota forgotten": ("min(len(self.allowed), math.floor(self.quota))", "len(self.allowed)"),
        "cores: a quota is rounded up": ("math.floor(self.quota)", "math.ceil(self.quota)"),
        "cores: the loosest limit": ("return min(found, default=None)", "return max(found, default=None)"),
        "cores: only one's own group": (
            "return [base / below, *(base / above for above in below.parents)]",
            "return [base / below]",
        ),
        "cores: period over quota": (
            "int(words[0]) / int(words[1])",
            "int(words[1]) / int(words[0])",
        ),
        "cores: shares overlap": ("*cores[a:b]", "*cores[a : b + 1]"),
        "cores: siblings are torn apart": ("if workers > len(cores):", "if workers > 1:"),
        "cores: whole cores are given twice": ("if workers > len(cores):", "if False:"),
        "cores: no siblings": ("listed[0] if listed else str(n)", "str(n)"),
        "cores: the declared before the user's": ("min(asked or declared,", "min(declared or asked,"),
        "cores: more threads than processors": (
            "min(asked or declared, len(share), machine.usable // workers)",
            "min(asked or declared, machine.usable // workers)",
        ),
        "cores: each run takes the whole quota": ("machine.usable // workers", "machine.usable"),
        "cores: threads wait actively": ('text.lower() or "passive"', 'text.lower() or "active"'),
        "cores: any wait policy": ('not in ("", "active", "passive")', "in ()"),
    },
    ("bench/measure/clock.py", "test_measure"): {
        "clock: read before the device has finished": (
            "        synchronize(device)\n        return time.perf_counter()",
            "        now = time.perf_counter()\n        synchronize(device)\n        return now",
        ),
        "clock: never waits": ("        synchronize(device)\n        return", "        return"),
        "clock: no warm-up": ("for _ in range(warmup):", "for _ in range(0):"),
        "clock: warm-up in the times": (
            "tuple(_time_once(fn, device) for _ in range(repeats))",
            "tuple(_time_once(fn, device) for _ in range(repeats + warmup))",
        ),
        "clock: mean for median": ("statistics.median(values), _inter", "statistics.fmean(values), _inter"),
        "turns: always in one order": ("order[::-1] if turn % 2 else order", "order"),
        "turns: the warm-up in one turn of the arms": ("range(warmup * steps)", "range(warmup)"),
        "turns: a turn's seconds for a step's": ("(clock() - start) / steps", "clock() - start"),
        "turns: quotients turn by turn": (
            "[a + b for a, b in itertools.pairwise(values)]",
            "list(values)",
        ),
        "turns: mean of the quotients": (
            "statistics.median(a / b for a, b in zip(*sums",
            "statistics.fmean(a / b for a, b in zip(*sums",
        ),
    },
    ("bench/measure/memory.py", "test_measure"): {
        "memory: level at the end for the peak": ("peak = max(peak, level)", "peak = level"),
        "memory: releases do not count": ("level -= live.pop(address, 0)", "live.pop(address, 0)"),
        "memory: what was there before counts when released": (
            "live.pop(address, 0)",
            "live.pop(address, -size)",
        ),
    },
    ("bench/metrics/transport.py", "test_transport"): {
        "MMD: pairs of a point with itself": ("pairs = n * (n - 1)", "pairs = n * n"),
        "MMD: the diagonal stays": ("np.fill_diagonal(h, 0)", "pass"),
        "MMD: only the first term of its error": ("+ 2 * zeta_2) / pairs", ") / pairs"),
        "W2: the square": (
            "float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))",
            "float(cost[linear_sum_assignment(cost)].mean())",
        ),
        "sliced W2: directions that are no unit vectors": ("theta /= np.linalg.norm(theta, axis=0)", "pass"),
        "kernel without its 2": ("/ (2 * sigma**2)", "/ sigma**2"),
    },
    ("bench/metrics/paths.py", "test_path_metrics"): {
        "paths: rectangles for trapezia": (
            "np.append(steps, 0) / 2 + np.append(0, steps) / 2",
            "np.append(steps, 0)",
        ),
        "paths: the clock changes the result": (", span * v", ", v"),
        "paths: spread for a standard error": (" / np.sqrt(len(each))", ""),
        "paths: energy over W2, not its square": ("abs(energy - w2**2) / w2**2", "abs(energy - w2**2) / w2"),
    },
    ("bench/metrics/classification.py", "test_classification"): {
        "C2ST: tested on what it was trained on": (
            "points[test] for points in pair",
            "points[train] for points in pair",
        ),
        "C2ST: error over the points of one sample": (
            "effective_size(tested, labels)",
            "effective_size(tested[: len(test)])",
        ),
        "C2ST: copies sharpen the error": (", effective_size(tested, labels)).percent", ").percent"),
        "C2ST: a quarter is trained on": ("<= n // 2", "<= n // 4"),
        "C2ST: copies in both halves": ("groups[place], []", "int(place), []"),
        "C2ST: points of the reference in common forgotten": (
            "np.tile(np.arange(n), 2), n + distinct.ravel()",
            "np.tile(np.arange(n), 2), n + distinct.ravel() + np.repeat([0, n], n)",
        ),
    },
    ("bench/metrics/share.py", "test_share"): {
        "share: a one-sided interval": ("tail = (1 - level) / 2", "tail = 1 - level"),
        "share: the nearer end for the error": ("max(p - low, high - p)", "min(p - low, high - p)"),
        "share: Wald's error": (
            "max(p - low, high - p) / _normal((1 + level) / 2)",
            "(p * (1 - p) / n) ** 0.5",
        ),
        "share: mid-point low end": (
            "betaincinv(k, m - k + 1, tail)",
            "betaincinv(k + 0.5, m - k + 0.5, tail)",
        ),
        "share: copies counted": ("m = n if effective is None else effective", "m = n"),
        "effective size: distinct points": (
            "n**2 / sum(m**2 for m in counts.values())",
            "float(len(counts))",
        ),
    },
    ("bench/metrics/fidelity/levels.py", "test_levels"): {
        "levels: cut to the range": ("if not inside.all():", "if False:"),
        "levels: cut down, not rounded": (".round().to(torch.uint8)", ".to(torch.uint8)"),
        "levels: any scale": ("if high - low < (WHITE + 1) // 2:", "if high == low:"),
        "levels: negatives pass": ("if plain > APART and negative < NEAR:", "if False:"),
        "levels: whatever is apart is a negative": (
            "if plain > APART and negative < NEAR:",
            "if plain > APART:",
        ),
        "levels: binarised against grey": (
            "if min(n, m) <= COARSE and max(n, m) > 2 * min(n, m):",
            "if False:",
        ),
    },
    ("bench/metrics/fidelity/features.py", "test_levels test_fidelity_cache"): {
        "features: shrunk with aliasing": ("antialias=True", "antialias=False"),
        "features: small images resized too": ("max(shape[2:]) > extractor.side", "max(shape[2:]) > 0"),
        "features: the reference unchecked": (
            'extractor.checked(samples, "sample set"), extractor.checked(reference, "reference")',
            'extractor.checked(samples, "sample set"), reference',
        ),
        "features: sets not held against each other": ("        check_alike(x, y)\n", "        pass\n"),
    },
    ("bench/report/rounding.py", "test_rounding"): {
        "rounding: ends to the nearest": (
            "(ROUND_HALF_EVEN, ROUND_FLOOR, ROUND_CEILING)",
            "(ROUND_HALF_EVEN, ROUND_HALF_EVEN, ROUND_HALF_EVEN)",
        ),
        "rounding: digits of its own": ("largest.adjusted() - MOST + 1", "largest.adjusted() - 2"),
        "rounding: half-width to the nearest": (
            "_round(half, place, ROUND_CEILING)",
            "_round(half, place, ROUND_HALF_EVEN)",
        ),
        "rounding: half-width about the number as it is": (
            "_EXACT.subtract(middle, _decimal(low))",
            "_EXACT.subtract(_decimal(value), _decimal(low))",
        ),
        "rounding: the tolerance unseen": ("else min(place, finest)", "else place"),
    },
    ("bench/metrics/fidelity/quality.py", "test_fidelity"): {
        "jackknife of FID: the bootstrap's factor": ("(groups - 1) / groups *", "1 / groups *"),
        "jackknife of FID: bias added": ("value - (groups - 1)", "value + (groups - 1)"),
        "jackknife of FID: of one set alone": ("np.sum(mean - value)", "(mean - value)[0]"),
        "jackknife of KID: spread of the subsets": ("m / (n - m) + 1 / SUBSETS", "1 / SUBSETS"),
        "IS: spread of the parts for its error": (" / np.sqrt(SPLITS - 1)", ""),
        "precision and recall exchanged": (
            "_share(found[parts.KEY_METRIC_PRECISION], x), _share(found[parts.KEY_METRIC_RECALL], y)",
            "_share(found[parts.KEY_METRIC_RECALL], x), _share(found[parts.KEY_METRIC_PRECISION], y)",
        ),
        "copies of a sample sharpen the precision": ("n, effective_size(points))", "n)"),
        "covariance over n": ("/ (n - 1)}", "/ n}"),
    },
    ("bench/data/energies2d.py", "test_energies2d"): {
        "area of a grid cell: a side": ("(axis[1] - axis[0]) ** 2", "(axis[1] - axis[0])"),
        "energy: a factor 1/2 lost": ("(x / scale) ** 2 / 2", "(x / scale) ** 2"),
    },
    ("bench/data/tabular.py", "test_tabular"): {
        "the first tenth": (
            "return rows[:n], rows[n:]",
            "return rows[len(rows) - n :], rows[: len(rows) - n]",
        ),
        "standardised by the test rows too": (
            "rows - rest.mean(axis=0)) / rest.std",
            "rows - rows.mean(axis=0)) / rows.std",
        ),
        "GAS: divisor N": ("rows.std(axis=0, ddof=1))", "rows.std(axis=0))"),
        "held-out rows taken from the test": (
            "TabularSet(*_last_tenth(validation), test)",
            "TabularSet(*_last_tenth(test), test)",
        ),
        "HEPMASS: test rows by their own mean": (
            "((test - mean) / std)",
            "((test - test.mean(axis=0)) / std)",
        ),
    },
    ("bench/data/images.py", "test_image_data"): {
        "test images are training images": ('train="train", test="t10k"', 'train="train", test="train"'),
        "digits: training images among the test images": ("(rank % 5 == 4) ==", "(rank % 4 == 3) =="),
        "CIFAR-10: training images tested": (
            '_of_split(split, train="train", test="test")',
            '_of_split(split, train="train", test="train")',
        ),
    },
    ("bench/data/toy2d.py", "test_toy2d"): {
        "moons: noise after scaling": (
            "2 * (_half_circles(n, rng) + rng.normal(0, 0.1, (n, 2))) - (1.0, 0.2)",
            "2 * _half_circles(n, rng) + rng.normal(0, 0.1, (n, 2)) - (1.0, 0.2)",
        ),
    },
}
"""(source, tests) -> name -> (text, text in its place)."""
