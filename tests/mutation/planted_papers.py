"""Planted faults in the papers' run functions and measurements."""

OT, FM = "replications/ot_flow", "replications/flow_matching"

FAULTS: dict[tuple[str, str], dict[str, tuple[str, str]]] = {
    ("replications/rnode/method.py", "test_rnode_method"): {
        "RNODE: sums for means": (
            '"kinetic_half_mean": config.kinetic',
            '"kinetic_half_sum": config.kinetic',
        ),
        "RNODE: weights beside a loss in nats": ("math.log(2) * x[0].numel()", "1.0"),
        "RNODE: compared with itself": ("kinetic=0.0, jacobian=0.0", "kinetic=0.0"),
    },
    ("replications/steer/experiments/stiff/run.py", "test_stiff"): {
        "STEER, stiff: first for last tenth of the tests": (
            "sum(tests[-last:]) / last",
            "sum(tests[:last]) / last",
        ),
        "STEER, stiff: worst for best": ("min(tests)", "max(tests)"),
        "STEER, stiff: target at the start": ("truth[starts + 1]", "truth[starts]"),
        "STEER, stiff: one end for all iterations": (
            "draw_length(float(times[1]), config, generator)",
            'draw_length(float(times[1]), config, run.torch_generator("end"))',
        ),
    },
    ("replications/ffjord/experiments/density_integral/run.py", "test_density_integral"): {
        "sign and direction of a KL": ("target.exp() * (target - log_p)", "log_p.exp() * (log_p - target)"),
        "sign of a KL": ("target.exp() * (target - log_p)", "target.exp() * (log_p - target)"),
        "mass of the map inside": ("1 - map_mass(flow, x, tight)", "map_mass(flow, x, tight)"),
        "mixture of densities that does not sum to one": (" - float(np.log(len(means)))", ""),
    },
    ("replications/ffjord/experiments/trace/run.py", "test_trace"): {
        "trace: bias of one state": ("values.numel()", "len(values)"),
        "trace: exponent of the smallest dimensions": (
            "dims[-FITTED:], values[-FITTED:])",
            "dims[:FITTED], values[:FITTED])",
        ),
        "trace: times without warm-up": ("warmup=2)", "warmup=0)"),
        "trace: quotient of medians": (
            "quotient(*turns) for turns in zip(found[name].turns, found[unit].turns)",
            "a / b for a, b in zip(found[name].seconds, found[unit].seconds)",
        ),
        "trace: variance over states": (".mean(1).var(0).mean()", ".mean(1).var(1).mean()"),
    },
    (f"{OT}/measured.py", "test_ot_measured"): {
        "OT-Flow: sign of the likelihood": ("Likelihood(-self.costs.C", "Likelihood(self.costs.C"),
        "OT-Flow: NFE of all that is counted": (
            "return Evaluated(found, nfe,",
            "return Evaluated(found, 2 * nfe,",
        ),
        "OT-Flow: samples replaced by data": (
            "as_array(samples), as_array(x[:n])",
            "as_array(x[-n:]), as_array(x[:n])",
        ),
        "OT-Flow: twice the own steps": (
            "costs(flow, part, rk4(steps))",
            "costs(flow, part, rk4(2 * steps))",
        ),
        "OT-Flow: the clock's own time": ("nfe, clock() - start,", "nfe, clock(),"),
    },
    (f"{OT}/method.py", "test_ot_method"): {
        "OT-Flow: weights exchanged": (
            "config.alpha_C * self.C + config.alpha_R * self.R",
            "config.alpha_R * self.C + config.alpha_C * self.R",
        ),
        "OT-Flow: sign of the volume": (
            "C = -(flow.prior.log_prob(path.z) + path.delta)",
            "C = -(flow.prior.log_prob(path.z) - path.delta)",
        ),
    },
    (f"{OT}/training.py", "test_ot_training"): {
        "OT-Flow: validated by the training's steps": (
            "costs_of(flow, x, config.validation_steps)",
            "costs_of(flow, x, config.steps)",
        ),
        "OT-Flow: the rate rises": ("gamma=1 / config.drop", "gamma=config.drop"),
    },
    (
        f"{OT}/experiments/tabular/run.py",
        "test_ot_tabular test_ot_training",
    ): {
        "OT-Flow, tables: weight decay ignored": ("weight_decay=config.weight_decay", "weight_decay=0.0"),
        "OT-Flow, tables: quotient upside down": (
            'of["ot_flow"] / of["ffjord"]',
            'of["ffjord"] / of["ot_flow"]',
        ),
        "OT-Flow, tables: another solver than its own": (
            "evaluated(flow, x, config.own_steps,",
            "evaluated(flow, x, config.validation_steps,",
        ),
    },
    (f"{OT}/experiments/toy/run.py", "test_ot_toy"): {
        "OT-Flow, plane: test points drawn from a training stream": (
            "x = held_out(data.test(config.test_points))",
            "x = data.batch(0, config.test_points).points",
        ),
        "OT-Flow, plane: paths from the base": ("torch.linspace(0, 1, times", "torch.linspace(1, 0, times"),
    },
    (f"{OT}/experiments/mnist/data.py", "test_ot_mnist_data"): {
        "OT-Flow, MNIST: validation images trained on": (
            "TrainSet(pixels(whole.images[order[n:]]))",
            "TrainSet(pixels(whole.images[order]))",
        ),
        "OT-Flow, MNIST: training images tested": (
            "first(TestSet(pixels(test.images)), config.test_images)",
            "first(TestSet(pixels(whole.images)), config.test_images)",
        ),
    },
    (f"{OT}/experiments/trace/measured.py", "test_ot_trace_measured"): {
        "OT-Flow, trace: variance of a gradient estimate": (
            '"hutchinson-1": 2 * gradient',
            '"hutchinson-1": gradient',
        ),
        "OT-Flow, trace: quotient of medians": (
            "quotient(*([s[name] for s in seconds] for name in (a, b)))",
            "sorted(s[a] for s in seconds)[len(seconds) // 2] / sorted(s[b] for s in seconds)[len(seconds) // 2]",
        ),
        "OT-Flow, trace: always in one order": ("reversed(arms) if backwards else arms", "arms"),
        "OT-Flow, trace: relative to the estimate": (
            "(estimate - exact).norm() / exact.norm()",
            "(estimate - exact).norm() / estimate.norm()",
        ),
    },
    (f"{FM}/points.py", "test_points"): {
        "matching: NFE of midpoint": (
            "FewSteps(flow.counter.forward_evaluations, points",
            "FewSteps(number, points",
        ),
        "matching: samples replaced by the base": ("points, w2(points, data))", "points, w2(base, data))"),
        "matching: W2's square": (
            "*path_energy(s.cpu(), velocities, w2)",
            "*path_energy(s.cpu(), velocities, w2**0.5)",
        ),
    },
    (f"{FM}/experiments/toy/run.py", "test_fm_toy_run"): {
        "matching, plane: weight decay ignored": ("weight_decay=config.weight_decay", "weight_decay=0.0"),
        "matching, plane: the reference is the test set itself": (
            'held_out(law.test(n, "test again"))',
            "held_out(law.test(n))",
        ),
        "matching, plane: samples replaced by data": (
            "points.distances(found.points, data, *draws)",
            "points.distances(data, data, *draws)",
        ),
        "matching, plane: evaluations counted twice": ("flow.counter.count(1)", "flow.counter.count(2)"),
    },
    (f"{FM}/convergence/validation.py", "test_convergence_validation"): {
        "convergence: sign of a KL": (
            "torch.from_numpy(log_density(law, x.cpu())) - log_p.double().cpu()",
            "log_p.double().cpu() - torch.from_numpy(log_density(law, x.cpu()))",
        ),
        "convergence: samples replaced by the base": (
            "w2(flow.decode(data.base, DEFAULT), x)",
            "w2(data.base, x)",
        ),
        "convergence: the time of another iteration": ("float(clock[i - 1])", "float(clock[i - 2])"),
    },
    (f"{FM}/convergence/run.py", "test_convergence_run"): {
        "convergence: no average": ("ema_decay=config.average", "ema_decay=0.0"),
        "convergence: trained on validation points": (
            "return draw_points(i, config.batch).points",
            "return fresh(run, config.data).validation(config.batch).points",
        ),
        "convergence: a looser solver": ("measured.at_tolerance(DEFAULT, config.tolerance)", "DEFAULT"),
    },
    (f"{FM}/experiments/images/evaluation.py", "test_fm_image_evaluation"): {
        "images: yardstick of real images from the training set": (
            'data.drawn(data.test, n, "yardstick")',
            'data.drawn(data.train, n, "yardstick")',
        ),
        "images: likelihood of training images": (
            'data.drawn(data.test, config.test_images, "likelihood")',
            'data.drawn(data.train, config.test_images, "likelihood")',
        ),
        "images: judged by test images": (
            'data.drawn(data.train, config.reference, "reference")',
            'data.drawn(data.test, config.reference, "reference")',
        ),
    },
    (f"{FM}/experiments/images/measured.py", "test_fm_image_measured"): {
        "images: NFE of a midpoint step": ("else evaluations // 2", "else evaluations"),
        "images: NFE of the first batch": ("mean_over_points(counts, map(len, parts))", "counts[0]"),
        "images: error of an accuracy": ("effective_size(images, labels)).percent", "1.0).percent"),
        "images: mean over draws that is a sum": (".logsumexp(0) - math.log(k)", ".logsumexp(0)"),
    },
    (f"{FM}/experiments/images/data.py", "test_fm_image_data"): {
        "images: mirrored upside down": ("v.flip(3)", "v.flip(2)"),
        "images: labels of the test set": ("labels = self.train.labels", "labels = self.test.labels"),
    },
}
"""(source, tests) -> name -> (text, text in its place)."""
