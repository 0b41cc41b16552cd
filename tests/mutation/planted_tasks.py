"""Planted faults in the library of flows and in the tasks: splits, evaluations, counts, costs, training."""

FAULTS: dict[tuple[str, str], dict[str, tuple[str, str]]] = {
    ("replications/flows/density/evaluate.py", "test_evaluate"): {
        "NLL of the wrong sign": (
            "return -self.log_prob.mean().item()",
            "return self.log_prob.mean().item()",
        ),
        "NLL: spread for a standard error": (" / math.sqrt(self.n)", ""),
        "bits in one dimension": ("return self.dim * math.log(2)", "return math.log(2)"),
        "NFE of a likelihood: as of one batch": ("x.split(batch),\n", "x.split(len(x)),\n"),
        "clock read once": ("clock() - start", "clock()"),
        "a looser reference solver": ("REFERENCE_TOLERANCE = 1e-8", "REFERENCE_TOLERANCE = 1e-3"),
        "reference in the same type": (
            "    with in_float64(flow):\n        twin",
            "    with contextmanager(iter)([0]):\n        twin",
        ),
        "inversion: the code for the point": ("(back - x)", "(back - back)"),
        "inversion: mean over dimensions": (".double().norm(dim=1)", ".double().square().mean(1).sqrt()"),
        "test with the training's regularizers": ("regularizers=(), b=0.0", "b=0.0"),
        "test with the training's random end": ("regularizers=(), b=0.0", "regularizers=()"),
        "end time: its root": ("torch.stack(ends).square()", "torch.stack(ends)"),
    },
    ("replications/flows/training/settings.py", "test_optimizers test_train"): {
        "weight decay ignored": ('"weight_decay": self.weight_decay}', '"weight_decay": 0.0}'),
        "warm-up ignored": ("return self.lr * rise *", "return self.lr *"),
        "cosine to the negative": ("0.5 * (1 + math.cos", "(1 + math.cos"),
    },
    ("replications/flows/training/log.py", "test_train test_recording"): {
        "total for a median time": ("statistics.median(later or", "sum(later or"),
        "first of each block for its mean": (
            "[mean_over_points(values[i:j], own[i:j]) for",
            "[values[i] for",
        ),
    },
    ("replications/flows/training/log.py", "test_phases test_recording"): {
        "phases: the first iteration counts in the median": ("if i not in self.starts]", "]"),
        "phases: compilation is training": ("min(value, median) if i in self.starts else value", "value"),
        "phases: all of the first iteration is warm-up": (
            "min(value, median) if i in self.starts else value",
            "0.0 if i in self.starts else value",
        ),
        "phases: a negative warm-up": ("min(value, median) if", "median if"),
        "phases: the warm-up with the training": ("sum(self.seconds) - self.train_time", "sum(self.seconds)"),
    },
    ("replications/flows/training/loop.py", "test_phases"): {
        "phases: a process that resumes is warm": ("self.log.starts.append(i)", "self.log.starts[:] = [0]"),
        "phases: every iteration begins a process": ("            self.warm = True\n", ""),
        "phases: data of all iterations before": ("self.clock.drawing - drawing", "self.clock.drawing"),
    },
    ("replications/flows/training/clock.py", "test_phases"): {
        "phases: data is training": ("return self.clock() - self.drawing", "return self.clock()"),
        "phases: the last data alone": ("self.drawing += self.clock()", "self.drawing = self.clock()"),
    },
    ("replications/tasks/splits.py", "test_splits"): {
        "test points drawn from a training stream": (
            "return TestSet(self._points(n, _apart(stream)))",
            'return TestSet(self._points(n, "batch/0"))',
        ),
        "validation points drawn from a training stream": (
            "return ValidationSet(self._points(n, _apart(stream)))",
            'return ValidationSet(self._points(n, "train"))',
        ),
        "streams of the training may be tested on": (
            'startswith(("batch/", "train"))',
            'startswith("batch/")',
        ),
        "every iteration the same batch": ('f"batch/{iteration}"', '"batch/0"'),
        "an evaluation takes training points": (
            "not isinstance(part, TestSet)",
            "not isinstance(part, Part)",
        ),
        "labels of other points": ("None if part.labels is None else part.labels[rows]", "part.labels"),
        "the first points for random ones": (
            "torch.randperm(len(part), generator=generator)[:n]",
            "torch.arange(len(part))[:n]",
        ),
    },
    ("replications/tasks/recording.py", "test_recording"): {
        "compiled times called eager": ('if "compiled" in protocol.split("/") else', "if not protocol else"),
        "eager and compiled times of one protocol": ('else f"{protocol}/eager"', "else protocol"),
        "warm-up of a single iteration": ("if 0 < len(log.starts) < n:", "if log.starts:"),
        "first for last tenth: loss": ("log.losses[-last:]", "log.losses[:last]"),
        "first for last tenth: evaluations": ("log.nfe_forward[-last:]", "log.nfe_forward[:last]"),
        "backward evaluations left out of the time of one": (
            "log.train_time / log.evaluations",
            "log.train_time / sum(log.nfe_forward)",
        ),
        "bits: error in nats": ("measured.n, se / bit)", "measured.n, se)"),
        "largest error for the mean": (
            "error.mean().abs().item(), protocol",
            "error.abs().max().item(), protocol",
        ),
        "mean of absolute errors": (
            "error.mean().abs().item(), protocol",
            "error.abs().mean().item(), protocol",
        ),
        "mean: spread for its error": ("values.std().item() / math.sqrt(n)", "values.std().item()"),
        "mean: of one value": ("protocol, n, values.std()", "protocol, 1, values.std()"),
        "error against another reference than is named": (
            "evaluate.REFERENCE_TOLERANCE).solver",
            "1e-3).solver",
        ),
    },
    ("replications/tasks/cost.py", "test_cost"): {
        "added cost: percentage of the other base": (
            '100 * (quotient(by["mine"], by["other"]) - 1)',
            '100 * (1 - quotient(by["other"], by["mine"]))',
        ),
        "added cost: a factor for a percentage": (
            '100 * (quotient(by["mine"], by["other"]) - 1)',
            'quotient(by["mine"], by["other"])',
        ),
        "added cost of an evaluation: of a step": ("[t / n for", "[t for"),
        "evaluations of the forward pass alone": (" + counter.backward_evaluations", ""),
        "counts of the step before": ("        self.flow.counter.reset()\n", ""),
        "added cost: always the first batch": ("next(self.iterations)", "0"),
        "memory of the forward pass alone": (
            "as peak:\n        loss(0).backward()",
            "as peak:\n        loss(0)",
        ),
        "no warm-up": ("range(warmup)", "range(0)"),
        "memory without the gradients' own": ("parameter.grad = None", "pass"),
    },
    ("replications/tasks/classification.py", "test_accuracy"): {
        "percentage of those classified wrongly": (
            "100 * self.right / self.n",
            "100 * self.right / (self.n - self.right)",
        ),
        "accuracy: error of a share": ("self.effective).percent[1]", "self.effective).se"),
        "accuracy: copies sharpen the error": (
            "share(self.right, self.n, self.effective)",
            "share(self.right, self.n)",
        ),
        "accuracy: NFE of one batch of all": ("points.split(batch)", "points.split(len(points))"),
        "accuracy on training images": ("points = held_out(test)", "points = test.points"),
    },
    ("replications/flows/means.py", "test_means"): {
        "means: a short batch weighs as a whole one": ("[n // unit for n in sizes]", "[1 for n in sizes]"),
        "means: no short batch": ("min(batch, n - start) for", "batch for"),
        "means: sizes of the first epoch alone": ("sizes[i % len(sizes)]", "sizes[min(i, len(sizes) - 1)]"),
    },
    ("replications/flows/ode/counter.py", "test_means"): {
        "NFE over points: mean over batches": ("map(len, parts))", "[1] * len(parts))"),
        "NFE over points: with what was counted before": (
            "        counter.reset()\n        found",
            "        found",
        ),
    },
    ("replications/tasks/density2d/evaluation.py", "test_density2d"): {
        "area of a grid cell: of side cells": (
            "h = 2 * reach / (len(density) - 1)",
            "h = 2 * reach / len(density)",
        ),
        "area of a grid cell: its side": ("* h**2 - 1", "* h - 1"),
        "samples replaced by data": ("found = distances(samples, data,", "found = distances(data, data,"),
        "likelihood of training points": (
            ".test(config.test_points)\n    record_end",
            ".batch(0, config.test_points)\n    record_end",
        ),
        "own solver: that of the test": ("own = measured.for_evaluation(in_training)", "own = integration"),
    },
    ("replications/tasks/images/evaluation.py", "test_image_task"): {
        "test images taken from the training set": (
            "pooled(test.images[: config",
            "pooled(train.images[: config",
        ),
        "likelihood of images timed without waiting for the device": (
            "config.test_batch, draws, reader(run.device))",
            "config.test_batch, draws)",
        ),
        "as many iterations as are asked for, whatever the epochs": (
            "min(config.iterations, config.epochs * data.per_epoch)",
            "config.iterations",
        ),
        "weight decay of images ignored": (
            "weight_decay=config.weight_decay, warmup",
            "weight_decay=0.0, warmup",
        ),
        "noise of the test is that of the first batch": (
            'torch_generator("test noise")',
            'torch_generator("noise/0")',
        ),
        "levels one too few": ("round(train.white) + 1", "round(train.white)"),
        "variance over images": ("reshape(repeats, len(x)).var(0)", "reshape(repeats, len(x)).var(1)"),
        "one noise for all iterations": ('f"noise/{iteration}"', '"noise"'),
        "images upside down": ("v.flip(3)", "v.flip(2)"),
    },
    ("replications/tasks/training.py", "test_training"): {
        "one stream of probes for all iterations": ('f"probes/{iteration}"', '"probes"'),
        "every iteration the first batch": (
            "method.objective(flow, drawn(iteration), config",
            "method.objective(flow, drawn(0), config",
        ),
    },
    ("replications/tasks/trace/variance.py", "test_trace_methods"): {
        "variance of an estimate: half": ("return 2 * total.mean().item()", "return total.mean().item()"),
        "variance of an estimate: of the Jacobian, not its symmetric part": (
            "(j + j.transpose(1, 2)) / 2",
            "j",
        ),
        "variance of an estimate: the kinds exchanged": ('if kind == "rademacher"', 'if kind == "gaussian"'),
    },
}
"""(source, tests) -> name -> (text, text in its place)."""
