"""Whether stages suit network, data and one another, asked before any training."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from tailgrad.checks import InputError
from tailgrad.heads import Linear
from tailgrad.optim import MaxNorm
from tailgrad.recipes.assemble import make_loss
from tailgrad.recipes.config import AuxiliaryConfig, CombineConfig, Config, SharpnessConfig, StageConfig
from tailgrad.recipes.orders import make_order
from tailgrad.recipes.own_loss import MakeLoss
from tailgrad.recipes.transforms import make_mixer
from tailgrad.types import ClassInfo


def check_stages(
    config: Config, model: Any, classes: ClassInfo, target: Sequence[int], own: MakeLoss | None = None
) -> dict[int, nn.Module]:
    """Build what every stage needs, so that nothing can fail after hours of training.

    Args:
        config: of the run.
        model: its network; is not changed.
        classes: names and training counts.
        target: class of every training example.
        own: makes a loss of the user's own, for stages that keep it.

    Returns:
        The loss of every stage that trains, by its place.

    Raises:
        InputError: a stage does not suit the network or the data, or an option is out of range.

    Example:
        >>> from tailgrad.models import create_model
        >>> config = Config(source="x", stages=[{"name": "ncm", "kind": "ncm"}])
        >>> check_stages(config, create_model("resnet32", 2), ClassInfo(("a", "b"), (3, 1)), [0, 0, 0, 1])
        {}
    """
    losses = {}
    for place, stage in enumerate(config.stages):
        _check_network(stage, model)
        if stage.kind in ("train", "merge"):
            losses[place] = stage_loss(config, stage, classes, model, own)
            _check_batches(config, stage, classes, target, losses[place])
    return losses


def stage_config(config: Config, stage: StageConfig) -> Config:
    """The run's configuration with what the stage sets: its loss, and nothing that acts on gradients.

    Example:
        >>> stage_config(Config(source="x"), StageConfig(name="crt", epochs=3)).train.epochs
        3
    """
    return config.model_copy(
        update={
            "loss": stage.loss or config.loss,
            "combine": CombineConfig(),
            "sharpness": SharpnessConfig(),
            "auxiliary": AuxiliaryConfig(),
            "train": config.train.model_copy(update={"epochs": stage.epochs}),
        }
    )


def stage_loss(
    config: Config, stage: StageConfig, classes: ClassInfo, model: Any, own: MakeLoss | None = None
) -> nn.Module:
    """The loss of a stage: its own, else the method's.

    Example:
        >>> from tailgrad.models import create_model
        >>> info, model = ClassInfo(("a", "b"), (3, 1)), create_model("resnet32", 2)
        >>> stage_loss(Config(source="x"), StageConfig(name="crt"), info, model).takes
        'logits'
    """
    return make_loss(stage_config(config, stage), classes, None if stage.loss else own, model)


def _check_network(stage: StageConfig, model: Any) -> None:
    if stage.kind in ("tau_norm", "ncm") or "scales" in stage.trains:
        linear_head(model, stage)
    if stage.max_norm:
        MaxNorm(model.head)
    if stage.features == "smote" and (stage.trains != "head" or model.takes_map):
        raise InputError(
            f"stage {stage.name!r} (features={stage.features}) trains a head on pooled features, got "
            f"trains={stage.trains} and the head {type(model.head).__name__}; set trains=head and "
            "head.name=linear"
        )


def _check_batches(
    config: Config, stage: StageConfig, classes: ClassInfo, target: Sequence[int], loss: nn.Module
) -> None:
    make_order(
        stage.sampler, target, epochs=stage.epochs, batch_size=config.train.batch_size, seed=config.seed
    )
    mixer = make_mixer(stage.mixing, classes.counts, stage.epochs)
    if getattr(mixer, "needs_partner", False):
        raise InputError(
            f"stage {stage.name!r} cannot draw a second batch, got mixing.name={stage.mixing.name}; use mixup"
        )
    takes = getattr(loss, "takes", "logits")
    kept = stage.loss is None and stage.trains == "all"
    if (takes != "logits" and not kept) or getattr(loss, "multi_label", False):
        raise InputError(
            f"stage {stage.name!r} needs a loss of one class on logits, got {type(loss).__name__}, which "
            f"takes {takes}; set the stage's loss"
        )


def linear_head(network: nn.Module, stage: StageConfig) -> nn.Linear:
    """The head, where it is one linear layer with bias on pooled features.

    Raises:
        InputError: it is not.

    Example:
        >>> from tailgrad.models import create_model
        >>> linear_head(create_model("resnet32", 4), StageConfig(name="tau", kind="tau_norm")).out_features
        4
    """
    head: nn.Module | None = getattr(network, "head", None)
    if isinstance(head, nn.Linear) and type(head) in (nn.Linear, Linear) and head.bias is not None:
        return head  # a cosine head is an nn.Linear too
    raise InputError(
        f"stage {stage.name!r} needs one linear layer as head, got {type(head).__name__}; set "
        "head.name=linear"
    )
