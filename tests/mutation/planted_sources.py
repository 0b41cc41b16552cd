"""Planted faults in the measurements and run functions of Neural ODE, of the lecture and of the blog."""

NODE, LECTURE, BLOG = (f"replications/{name}/experiments" for name in ("neural_ode", "lecture", "blog"))

FAULTS: dict[tuple[str, str], dict[str, tuple[str, str]]] = {
    ("replications/tasks/gradients.py", "test_gradients"): {
        "relative to what was found": ("/ exact.norm()", "/ found.norm()"),
    },
    (f"{NODE}/mnist/run.py", "test_node_mnist"): {
        "Neural ODE, MNIST: memory without warm-up": ("warmup=1", "warmup=0"),
        "Neural ODE, MNIST: test images taken from the training set": (
            "TestSet(test_images.images[every], test_images.labels[every])",
            "TestSet(train_images.images[every], train_images.labels[every])",
        ),
        "Neural ODE, MNIST: batches of a test": ("-(-found.n // TEST_BATCH)", "found.n // TEST_BATCH"),
    },
    (f"{NODE}/mnist/measured.py", "test_node_mnist_measured"): {
        "Neural ODE, MNIST: ratio of evaluations upside down": (
            "sum(backward) / sum(forward)",
            "sum(forward) / sum(backward)",
        ),
        "Neural ODE, MNIST: the solver of before": ("        block.solver = kept", "        pass"),
        "Neural ODE, MNIST: gradient against itself": (
            'differentiated_by(block, "backprop")',
            "differentiated_by(block, block.gradient)",
        ),
    },
    (f"{NODE}/scaling/measured.py", "test_scaling_measured"): {
        "scaling: memory of a first pass": ("    work()\n    with peak", "    with peak"),
        "scaling: one depth after the other": ("(arms, turns, reader(device))", "(arms, 1, reader(device))"),
        "scaling: a looser reference": ("state, reference_tolerance,", "state, max(tolerances),"),
        "scaling: backward for forward": (
            "found.nfe_forward, found.nfe_backward, seconds",
            "found.nfe_backward, found.nfe_forward, seconds",
        ),
        "scaling: evaluations of both passes": (
            "counter.forward_evaluations, counter.backward",
            "counter.forward_evaluations + counter.backward_evaluations, counter.backward",
        ),
    },
    (f"{NODE}/planar_cnf/measured.py", "test_planar_measured"): {
        "planar flows: sign of log Z": ("+ energies2d.log_partition", "- energies2d.log_partition"),
        "planar flows: sign of the volume": ("- path.delta + values", "+ path.delta + values"),
        "planar flows: evaluations of before": ("    flow.counter.reset()\n", ""),
        "planar flows: corners for midpoints": ("+ 0.5) *", ") *"),
    },
    (f"{NODE}/planar_cnf/targets.py", "test_planar_measured test_planar_cnf"): {
        "planar flows: test points drawn from a training stream": (
            'self._drawn(n, "test")',
            'self._drawn(n, "batch/0")',
        ),
    },
    (f"{LECTURE}/mnist/measured.py", "test_mnist test_lecture_classifier"): {
        "lecture: mean loss that a short batch distorts": (
            "mean_over_points(losses := log.losses[part], sizes[: len(losses)])",
            "statistics.fmean(log.losses[part])",
        ),
        "lecture: memory without warm-up": ("warmup=1", "warmup=0"),
        "lecture: error for accuracy": ("[100 - error for", "[error for"),
    },
    (f"{LECTURE}/mnist/run.py", "test_mnist"): {
        "lecture: accuracy of another base": (
            "100 * trained.correct.double() / len(train_set)",
            "100 * trained.correct.double() / trained.correct.sum()",
        ),
        "lecture: images of the training set tested": (
            'for part in ("train", "test"))',
            'for part in ("train", "train"))',
        ),
    },
    (f"{LECTURE}/solvers/measured.py", "test_solvers"): {
        "lecture: bisection the wrong way": (
            "(z, high) if _bounded(method, z, steps) else (low, z)",
            "(low, z) if _bounded(method, z, steps) else (z, high)",
        ),
        "lecture: orders of errors that rounding hides": ("if error > ROUNDING", "if error > 0"),
        "lecture: local error of another step": ("grid(size, 1)", "grid(2 * size, 1)"),
    },
    (f"{LECTURE}/inversion/measured.py", "test_inversion_measured"): {
        "lecture: there and there": ("solve(field, there, 1.0, 0.0,", "solve(field, there, 0.0, 1.0,"),
        "lecture: evaluations of both ways": (
            "    return counter.forward_evaluations",
            "    return 2 * counter.forward_evaluations",
        ),
    },
    (f"{LECTURE}/inversion/run.py", "test_inversion"): {
        "lecture: signs of the adjoint exchanged": (
            '{"printed": -1, "right": 1}',
            '{"printed": 1, "right": -1}',
        ),
        "lecture: solvers exchanged": (
            'largest_inversion_error(field, x, fixed), f"{fixed',
            'largest_inversion_error(field, x, adaptive), f"{fixed',
        ),
    },
    (f"{BLOG}/adjoint_memory/run.py", "test_adjoint_memory"): {
        "blog, memory: base is the variant": (
            "self.peak(self.variant, batch) / self.peak(self.baseline, batch) - 1",
            "self.peak(self.baseline, batch) / self.peak(self.variant, batch) - 1",
        ),
        "blog, memory: no warm-up": (
            "    passes.once(passes.variant)  # first use allocates workspaces\n",
            "",
        ),
        "blog, memory: evaluations before the pass count": (
            "    model.block.counter.reset()\n    run.metric",
            "    run.metric",
        ),
        "blog, memory: features of training images tested": (
            '(("train", images), ("test", test))',
            '(("train", images), ("test", images))',
        ),
    },
    (f"{BLOG}/spiral/run.py", "test_spiral"): {
        "blog, spiral: the start that was trained on": ("rms(off[:, 1:])", "rms(off[:, :1])"),
        "blog, spiral: final error at the start": (
            "mean_length(off[-1:, 0])",
            "mean_length(off[:1, 0])",
        ),
        "blog, spiral: target a step early": (
            "observed[starts + config.segment]",
            "observed[starts + config.segment - 1]",
        ),
    },
    (f"{BLOG}/theory/picard.py", "test_picard"): {
        "blog, theory: bound without its factorial": ("lt**n / math.factorial(n)", "lt**n"),
    },
    (f"{BLOG}/theory/run.py", "test_theory"): {
        "blog, theory: sign of the expansion": (
            "StandardNormal(dim).log_prob(x) - expansion",
            "StandardNormal(dim).log_prob(x) + expansion",
        ),
        "blog, theory: mass without the spacing": (
            "float(density.sum()) * spacing - 1",
            "float(density.sum()) - 1",
        ),
    },
}
"""(source, tests) -> name -> (text, text in its place)."""
