"""The ``combine`` section made into an optimiser, modules that the loss carries, and a step."""

import inspect
import math
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from tailgrad.checks import InputError
from tailgrad.engine import balanced_step, combined_step, gap_step, supervised_step
from tailgrad.engine.loop import Step
from tailgrad.models import Classifier
from tailgrad.models.column_vectors import example_row
from tailgrad.models.evaluating import evaluating
from tailgrad.optim import ClassGradientOptimizer, GapWeights, ShareBalancer
from tailgrad.recipes.combinations import combinations, is_combiner, kind_of
from tailgrad.recipes.config import CombineConfig
from tailgrad.types import Inputs

STEPS: dict[type | None, Step] = {ShareBalancer: balanced_step, GapWeights: gap_step}


def step_of(combine: CombineConfig) -> Step:
    """The step that the method needs.

    Example:
        >>> step_of(CombineConfig(name="pcgrad")).__name__
        'combined_step'
    """
    return combined_step if is_combiner(combine) else STEPS.get(kind_of(combine), supervised_step)


def wants_each_loss(combine: CombineConfig) -> bool:
    """Whether the step needs one loss an example.

    Example:
        >>> wants_each_loss(CombineConfig(name="gap_weights")), wants_each_loss(CombineConfig())
        (True, False)
    """
    return step_of(combine) in (combined_step, gap_step)


def backward_passes(combine: CombineConfig, num_classes: int, batch_size: int) -> int:
    """Backward passes of one step, at most.

    Example:
        >>> backward_passes(CombineConfig(name="pcgrad"), 10, 32)
        10
    """
    return min(num_classes, batch_size) if is_combiner(combine) else 1


def add_to_loss(loss: nn.Module, combine: CombineConfig, num_classes: int) -> nn.Module:
    """The loss, carrying what the step needs besides it.

    Args:
        loss: is changed.
        combine: the method.
        num_classes: K.

    Raises:
        InputError: an option is out of range.

    Example:
        >>> loss = add_to_loss(nn.CrossEntropyLoss(), CombineConfig(name="gap_weights"), 4)
        >>> loss.gap.baseline
        tensor([1.3863, 1.3863, 1.3863, 1.3863])
    """
    if kind_of(combine) is ShareBalancer:
        loss.add_module("balancer", _made(combine, num_classes))
    if kind_of(combine) is GapWeights:
        options = combine.options | {"baseline": _baseline(combine, num_classes)}
        loss.add_module("gap", _made(combine.model_copy(update={"options": options}), num_classes))
    return loss


def check_model(combine: CombineConfig, model: Classifier, size: tuple[int, int]) -> None:
    """Check that the model bears the method.

    A pass through the network says which modules run behind the features: a timm model's pooling may hold
    BatchNorm as well as the head.

    Args:
        combine: the method.
        model: is not changed.
        size: (height, width) of the images.

    Raises:
        InputError: there is BatchNorm behind the features, and the method balances them.

    Example:
        >>> from tailgrad.models import create_model
        >>> check_model(CombineConfig(name="share_balancer"), create_model("resnet32", 4), (32, 32))
    """
    behind = _batch_norms_behind(model, size) if kind_of(combine) is ShareBalancer else []
    for name, module in model.named_modules():
        if module in behind:
            raise InputError(
                f"combine.name={combine.name} needs examples to stay independent behind the features, got "
                f"{name!r} ({type(module).__name__}) there; choose another model or head, or a method that "
                "combines class gradients"
            )


def combine_in(
    optimizer: Optimizer, combine: CombineConfig, model: Classifier, num_classes: int
) -> Optimizer:
    """The optimiser inside one that combines class gradients, where the method does.

    Raises:
        InputError: an option is out of range.

    Example:
        >>> from tailgrad.models import create_model
        >>> model = create_model("resnet32", 4)
        >>> combine_in(torch.optim.SGD(model.parameters()), CombineConfig(name="mgda"), model, 4).prior
        'uniform'
    """
    if not is_combiner(combine):
        return optimizer
    combined = cast("nn.Module", model.backbone if combine.parameters == "backbone" else model)
    combiner = _made(combine, num_classes)
    return ClassGradientOptimizer(combined, optimizer, combiner, prior=combine.prior)


def _made(combine: CombineConfig, num_classes: int) -> Any:
    made = combinations()[combine.name]
    known = inspect.signature(made).parameters
    filled = {"num_classes": num_classes} if "num_classes" in known else {}
    try:
        return made(**filled, **combine.options)
    except TypeError as error:
        raise InputError(
            f"combine.options must fit {combine.name}, got {combine.options} ({error}); mend them"
        ) from error


def _baseline(combine: CombineConfig, num_classes: int) -> list[float]:
    """Losses to compare with; those of a uniform guess where none are given."""
    given = combine.options.get("baseline")
    if given is None:
        return [math.log(num_classes)] * num_classes
    if not isinstance(given, list | tuple) or len(given) != num_classes:
        raise InputError(
            f"combine.options.baseline must hold {num_classes} losses, one a class, got {given!r}; "
            "give those that a run without the method reaches on held-out data, or leave it out"
        )
    return list(given)


def _example(model: Classifier, size: tuple[int, int]) -> Inputs:
    """One black image, or one row where the network is for tables."""
    first = next(model.parameters())
    if getattr(model.backbone, "takes", "images") == "table":
        return example_row(*size).to(first.device)
    return torch.zeros(1, 3, *size, device=first.device)


def _batch_norms_behind(model: Classifier, size: tuple[int, int]) -> list[nn.Module]:
    ran: list[nn.Module] = []
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    handles = [norm.register_forward_hook(lambda module, *_: ran.append(module)) for norm in norms]
    backbone = cast("nn.Module", model.backbone)
    handles.append(backbone.register_forward_hook(lambda *_: ran.clear()))
    try:
        with evaluating(model), torch.no_grad():
            model(_example(model, size))
    finally:
        for handle in handles:
            handle.remove()
    return ran
