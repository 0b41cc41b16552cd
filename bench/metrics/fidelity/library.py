"""The door to torch-fidelity: imports it when it is first needed, and registers extractors with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.errors import UserError

LAYERS = ("features", "logits")
"""What our own extractors provide: for FID, KID, precision and recall the first, for IS the second."""

_schemas: list[Any] = []  # a schema lives as long as the object that declared it


def library(module: str) -> Any:
    """Return a module of torch-fidelity, such as `metric_fid`.

    Raises:
        UserError: torch-fidelity or torchvision is not installed.
    """
    _import_torchvision()
    try:
        return import_module(f"torch_fidelity.{module}")
    except ModuleNotFoundError as fault:
        raise _absent(fault) from fault


def as_extractor(network: Callable[[Path | None], Any]) -> type:
    """Return torch-fidelity's kind of extractor around a network.

    Args:
        network: makes, from the file of its weights, the module that maps a batch to (features, logits).
    """
    base: Any = library("feature_extractor_base").FeatureExtractorBase

    class Wrapped(base):
        def __init__(
            self,
            name: str,
            features_list: list[str],
            feature_extractor_weights_path: Path | None = None,
            **options: Any,
        ) -> None:
            super().__init__(name, features_list)
            self.network = network(feature_extractor_weights_path)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return LAYERS

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return LAYERS[metric == "isc"]

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, batch: Any) -> tuple[Any, ...]:
            provided = dict(zip(LAYERS, self.network(batch)))
            return tuple(provided[layer] for layer in self.features_list)

    return Wrapped


@cache
def _import_torchvision() -> None:
    """Import torchvision, which torch-fidelity imports, also where it was built for another torch.

    Then its compiled part does not load, and its import fails at the schema of an operator that this part would have
    declared. Nothing here needs the operator, so the schema alone is declared and the import begins anew.
    """
    import torch

    try:
        import_module("torchvision")
    except ModuleNotFoundError as fault:
        raise _absent(fault) from fault
    except RuntimeError as fault:
        if "operator torchvision::nms does not exist" not in str(fault):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        fragment = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            fragment.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _schemas.append(fragment)
        import_module("torchvision")


def _absent(fault: ModuleNotFoundError) -> UserError:
    name = str(fault.name).partition(".")[0]
    return UserError(f"sample quality needs {name}: run pip install torch-fidelity torchvision")
