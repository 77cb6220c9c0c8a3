"""Whether stages suit the network, asked before any training."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from tailgrad.checks import InputError
from tailgrad.recipes.config import StageConfig


def check_stages(stages: Sequence[StageConfig], model: Any) -> None:
    """Check that every stage can be run on the network.

    Raises:
        InputError: a stage works on one linear layer, or on pooled features, and the head is another.

    Example:
        >>> from tailgrad.models import create_model
        >>> check_stages([StageConfig(name="ncm", kind="ncm")], create_model("resnet32", 4))
    """
    for stage in stages:
        if stage.kind in ("tau_norm", "ncm") or "scales" in stage.trains:
            linear_head(model, stage)
        if stage.features == "smote" and (stage.trains != "head" or model.takes_map):
            raise InputError(
                f"stage {stage.name!r} (features={stage.features}) trains a head on pooled features, got "
                f"trains={stage.trains} and the head {type(model.head).__name__}; set trains=head and "
                "head.name=linear"
            )


def linear_head(network: nn.Module, stage: StageConfig) -> nn.Linear:
    """The head, where it is one linear layer on pooled features.

    Raises:
        InputError: it is not.

    Example:
        >>> from tailgrad.models import create_model
        >>> linear_head(create_model("resnet32", 4), StageConfig(name="tau", kind="tau_norm")).out_features
        4
    """
    head = getattr(network, "head", None)
    if isinstance(head, nn.Linear):
        return head
    raise InputError(
        f"stage {stage.name!r} needs one linear layer as head, got {type(head).__name__}; set "
        "head.name=linear"
    )
