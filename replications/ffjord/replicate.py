"""The experiments on points, tables and images with FFJORD's networks, for FFJORD and the methods that build on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from replications.ffjord.method import BUILDER, IMAGE_BUILDER, on_images, on_points, on_table
from replications.ffjord.sizes import record_image_sizes, record_table_sizes
from replications.tasks.density2d import evaluation as density2d
from replications.tasks.images import evaluation as pictures
from replications.tasks.method import Method, in_test
from replications.tasks.tables import evaluation as tables

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.tasks.density2d.declaration import Density2dConfig
    from replications.tasks.images.declaration import ImageConfig
    from replications.tasks.tables.declaration import TableConfig


def toy(run: Run, config: Density2dConfig, method: Method) -> None:
    """Train on a density in the plane, then measure likelihood, cost, regularity, total mass and samples."""
    flow = density2d.trained(run, config, method, BUILDER, on_points(config))
    density2d.evaluate(run, flow, config, in_test(config), method.in_training(config))


def tabular(run: Run, config: TableConfig, method: Method) -> None:
    """Train on rows with early stopping, then measure likelihood, cost, inversion and regularity on test rows."""
    data = tables.rows(run, config)
    arguments = on_table(config, data.train.points.shape[1])
    flow = tables.trained(run, data, config, method, BUILDER, arguments)
    tables.evaluate(run, flow, data.test, config)
    record_table_sizes(run)


def images(run: Run, config: ImageConfig, method: Method) -> None:
    """Train on images, then measure likelihood, cost, inversion, regularity and the trace estimator on test images."""
    data = pictures.Pixels(run, config)
    flow = pictures.trained(run, data, config, method, IMAGE_BUILDER, on_images(config, data.shape))
    pictures.evaluate(run, flow, data, config)
    record_image_sizes(run)
