"""Every metric that a record may hold: name, unit, direction, meaning."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from bench.errors import UserError
from bench.settings import suggest

Direction = Literal["lower", "higher", "none"]


@dataclass(frozen=True)
class Metric:
    """A quantity with one meaning everywhere.

    Args:
        name: snake_case.
        unit: of every value under this name; empty for a pure number.
        direction: which way is better; `none` where neither is.
        description: one sentence.
        share: whether it is a share of points, between 0 and 1 or 0 and 100 %; its standard error is that of
            `bench.metrics.share`.
        compares: whether it compares other quantities, which its qualifier names, as in `ratio[time: a/b]`.
        default: unit of what it compares where the qualifier names nothing known.
    """

    name: str
    unit: str
    direction: Direction
    description: str
    share: bool = False
    compares: bool = False
    default: str = ""


_METRICS = (
    # Learning
    Metric(
        "test_error",
        "%",
        "lower",
        "Share of the test set classified wrongly, 100 - test_accuracy.",
        share=True,
    ),
    Metric("test_accuracy", "%", "higher", "Share of the test set classified correctly.", share=True),
    Metric(
        "train_loss",
        "",
        "lower",
        "Loss at the end of training, in its own unit, as the protocol averages it.",
    ),
    Metric("parameters", "count", "lower", "Number of trainable scalars."),
    Metric("iterations", "iterations", "none", "Training iterations that were taken."),
    Metric("parameter_error", "", "lower", "Relative error of learned parameters, |p - p*| / |p*|."),
    Metric("field_error", "", "lower", "Relative squared error of a learned field, E|v - v*|^2 / E|v*|^2."),
    Metric("trajectory_error", "", "lower", "Root mean square of z(t) - z*(t) over times and coordinates."),
    Metric(
        "reconstruction_error",
        "",
        "lower",
        "Mean squared error per pixel of an autoencoder's images, pixels in 0..1.",
    ),
    # Likelihood
    Metric("nll", "nats", "lower", "Mean negative log-likelihood of a test point, -mean log p(x)."),
    Metric(
        "bits_per_dim",
        "bits/dim",
        "lower",
        "Negative log-likelihood in bits, nll / (D log 2); of images, of their levels.",
    ),
    Metric("kl", "nats", "lower", "Kullback-Leibler divergence, E_p[log p - log q]."),
    Metric("trace_error_nll", "nats", "lower", "Root mean square error of the nll by the trace's estimator."),
    Metric("inversion_error", "", "lower", "Distance after there and back, |x - T^-1(T(x))|."),
    Metric(
        "nll_error",
        "nats",
        "lower",
        "Error of the nll by the solver, |nll - nll at a far smaller tolerance|.",
    ),
    Metric("mass_error", "", "lower", "Error of a density's total mass, |integral of p - 1|."),
    Metric(
        "free_energy", "nats", "lower", "E_q[log q + U], the KL divergence of q from p = e^-U / Z less log Z."
    ),
    Metric("end_time", "", "none", "End time T of a flow."),
    # Regularity
    Metric(
        "kinetic_energy", "", "lower", "Mean over points of the integral of |f|^2, summed over dimensions."
    ),
    Metric("jacobian_norm", "", "lower", "Mean over points of the integral of |df/dx|_F^2."),
    Metric("transport_cost", "", "lower", "Mean over points of the integral of |f|^2 / 2, OT-Flow's L."),
    Metric(
        "hjb_residual",
        "",
        "lower",
        "Mean over points of the integral of |-dPhi/dt + |grad Phi|^2 / 2| of a field -grad Phi, OT-Flow's R.",
    ),
    # Divergence estimators
    Metric(
        "trace_bias", "", "none", "Mean of an estimated trace minus the exact trace, over probes and states."
    ),
    Metric("trace_error", "", "lower", "Relative error of estimated traces of a batch, |tr - tr*| / |tr*|."),
    Metric(
        "trace_variance",
        "",
        "lower",
        "Variance over probes of an estimated trace, or of a log-likelihood from it; see its protocol.",
    ),
    # Samples against data
    Metric(
        "wasserstein2",
        "",
        "lower",
        "Wasserstein-2 distance of two samples of one size, by an exact assignment.",
    ),
    Metric(
        "debiased_wasserstein2",
        "",
        "lower",
        "Squared Wasserstein-2 distance of two laws, less what two samples of one law have; may be negative.",
    ),
    Metric(
        "sliced_wasserstein2",
        "",
        "lower",
        "Root mean square over directions of the W2 distance of projections.",
    ),
    Metric("mmd", "", "lower", "Squared maximum mean discrepancy, unbiased: it may be negative."),
    Metric(
        "c2st",
        "%",
        "lower",
        "Held-out accuracy of a classifier of samples against data; 50 is chance.",
        share=True,
    ),
    Metric("fid", "", "lower", "Frechet distance of normal laws fitted to the features of two samples."),
    Metric(
        "inception_score",
        "",
        "higher",
        "exp of the mean KL divergence of a sample's class probabilities from their mean; at most the classes.",
    ),
    Metric("kid", "", "lower", "Squared MMD of features, cubic polynomial kernel; it may be negative."),
    Metric(
        "precision", "", "higher", "Share of the samples inside the reference's neighbourhoods.", share=True
    ),
    Metric("recall", "", "higher", "Share of the reference inside the samples' neighbourhoods.", share=True),
    Metric(
        "class_agreement",
        "%",
        "higher",
        "Share of samples of given classes that the protocol's classifier gives their class.",
        share=True,
    ),
    Metric(
        "nearest_in_training",
        "%",
        "lower",
        "Share of samples nearer to a training point than to as many held-out ones; 50 without memorising.",
    ),
    # Paths
    Metric(
        "straightness",
        "",
        "lower",
        "Mean over points and time of |(x_1 - x_0) - v_t|^2; 0 where all paths are straight.",
    ),
    Metric(
        "path_energy",
        "",
        "lower",
        "Normalised path energy, |E integral |v|^2 dt - W2^2| / W2^2; 0 is optimal.",
    ),
    Metric(
        "detour",
        "",
        "lower",
        "Transport cost over distance, E T integral |v|^2 dt / E |x(T) - x(0)|^2; 1 where paths are straight and even.",
    ),
    # Function evaluations
    Metric("nfe", "evaluations", "lower", "Evaluations of the field in one solve."),
    Metric("nfe_forward", "evaluations", "lower", "Evaluations in a training iteration's forward pass."),
    Metric("nfe_backward", "evaluations", "lower", "Evaluations in a training iteration's backward pass."),
    Metric("nfe_test", "evaluations", "lower", "Evaluations in a forward pass on test data."),
    Metric(
        "kept_graphs",
        "%",
        "none",
        "Share of the accepted steps in training whose graph was kept for the gradient, not made again.",
    ),
    Metric("nfe_ratio", "", "none", "Quotient nfe_backward / nfe_forward, or as the qualifier says."),
    # Time
    Metric(
        "train_time",
        "s",
        "lower",
        "Wall time of the whole training, without compilation, warm-up, data and evaluation.",
    ),
    Metric(
        "warmup_time",
        "s",
        "lower",
        "Wall time that a process's first training iteration takes above the median: compilation, first use.",
    ),
    Metric("data_time", "s", "lower", "Wall time in which a training's data is drawn, prepared and moved."),
    Metric("iteration_time", "s", "lower", "Wall time of one training iteration."),
    Metric(
        "iterations_to_target", "iterations", "lower", "Training iterations until a stated goal is reached."
    ),
    Metric(
        "time_to_target",
        "s",
        "lower",
        "Wall time of training until a stated goal is reached, evaluation excluded.",
    ),
    Metric(
        "evaluation_time",
        "s",
        "lower",
        "Wall time of an evaluation; in training, of an iteration over all it makes.",
    ),
    Metric("forward_backward_time", "s", "lower", "Wall time of a forward and backward pass on one batch."),
    Metric("sampling_time", "s", "lower", "Wall time to draw the protocol's number of samples."),
    Metric("loglik_time", "s", "lower", "Wall time of the log-likelihoods of the protocol's points."),
    Metric("solve_time", "s", "lower", "Wall time of one solve."),
    Metric("time_slope", "s/step", "lower", "Slope of the time against the number of solver steps."),
    Metric(
        "overhead",
        "%",
        "lower",
        "Added cost relative to the reference, 100 (cost / reference - 1); cost is time if no other is named.",
        compares=True,
        default="s",
    ),
    # Memory
    Metric("peak_memory", "bytes", "lower", "Peak of live tensor bytes above the level before."),
    Metric("resident_memory", "bytes", "lower", "Largest resident set of the run's process."),
    Metric(
        "memory_slope", "bytes/step", "lower", "Slope of the peak memory against the number of solver steps."
    ),
    # Numerical error
    Metric("max_error", "", "lower", "Largest error over the output times, max_k |y_k - y(t_k)|."),
    Metric("mean_error", "", "lower", "Mean error over the output times, mean_k |y_k - y(t_k)|."),
    Metric("final_error", "", "lower", "Error at the final time, |y_N - y(t_N)|."),
    Metric("gradient_error", "", "lower", "Relative error of a gradient, |g - g*| / |g*|."),
    Metric("volume_error", "", "lower", "Relative error of a transported volume, |V / V* - 1|."),
    Metric("density_error", "", "lower", "Error of a transported log-density, |log p - log p*|."),
    Metric("order_observed", "", "higher", "Global order p, from error at the final time ~ h^p."),
    Metric("order_local", "", "higher", "Local order p + 1, from error of a single step ~ h^(p+1)."),
    Metric(
        "contraction_factor", "", "lower", "Quotient of Picard differences, |y_k+1 - y_k| / |y_k - y_k-1|."
    ),
    Metric("stiffness", "", "none", "max |Re lambda| / min |Re lambda| over the Jacobian's eigenvalues."),
    # Comparisons
    Metric("scaling_exponent", "", "none", "Exponent p of cost ~ size^p.", compares=True),
    Metric(
        "ratio", "", "none", "Quotient of two measured quantities, named by the qualifier.", compares=True
    ),
    Metric("trend_slope", "", "none", "Slope of a fitted line, axes named by the qualifier.", compares=True),
    Metric(
        "stability_limit",
        "",
        "higher",
        "Largest h |lambda| at which a method's solution of h' = -lambda h stays bounded.",
    ),
)

CATALOGUE: dict[str, Metric] = {m.name: m for m in _METRICS}
"""Every metric by name."""

MACHINE_METRICS = frozenset({"resident_memory", "overhead", "ratio"})
"""Metrics of the machine rather than of the method, as times are."""

FORMER_UNITS = {"train_loss": ("nats",)}
"""Units that earlier records give for the same numbers."""

_KEY = re.compile(r"([a-z][a-z0-9_]*)(?:\[(.+)\])?")


def metric(name: str) -> Metric:
    """Return a metric of the catalogue.

    Raises:
        UserError: no metric has this name.
    """
    if name not in CATALOGUE:
        raise UserError(f"unknown metric {name!r}; {suggest(name, CATALOGUE)}")
    return CATALOGUE[name]


def split_key(key: str) -> tuple[str, str | None]:
    """Split a record's metric key, `name` or `name[qualifier]`, into name and qualifier.

    Raises:
        UserError: the key has another form.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        raise UserError(f"malformed metric key {key!r}; write name or name[qualifier]")
    return match[1], match[2]


def is_time(key: str) -> bool:
    """Return whether a metric's value rests on wall times, by its unit or by those of what its qualifier compares.

    >>> is_time("time_slope"), is_time("ratio[time: a/b]"), is_time("overhead[memory/b]"), is_time("nfe")
    (True, True, False, False)

    Raises:
        UserError: an unknown metric or a malformed key.
    """
    name, qualifier = split_key(key)
    found = metric(name)
    units = [found.unit]
    if found.compares:
        words = re.findall(r"[a-z][a-z0-9_]*", qualifier or "")
        units = [unit for word in words if (unit := _unit_of(word)) is not None] or [found.default]
    return any("s" in unit.split("/") for unit in units)


def repeats(key: str) -> bool:
    """Return whether a metric's value is expected to be the same again; those of the machine are not.

    Raises:
        UserError: an unknown metric or a malformed key.
    """
    return not is_time(key) and split_key(key)[0] not in MACHINE_METRICS


_QUANTITIES = {"time": "s", "memory": "bytes"}


def _unit_of(word: str) -> str | None:
    """Return the unit of a quantity that a qualifier names; None where the word is no quantity."""
    return CATALOGUE[word].unit if word in CATALOGUE else _QUANTITIES.get(word)
