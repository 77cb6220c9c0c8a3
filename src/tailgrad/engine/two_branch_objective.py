"""The loss of a network with a conventional and a re-balancing branch."""

from collections.abc import Callable
from typing import cast

from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.engine.examples import Examples
from tailgrad.engine.learner import Learner
from tailgrad.losses import frozen
from tailgrad.models import bbn_weight


def two_branch_objective(learner: Learner, examples: Examples) -> Tensor:
    """``l loss(z, y_c) + (1 - l) loss(z, y_r)`` with ``z = model.mixed(x_c, x_r, l)``; l falls over epochs.

    Raises:
        InputError: the batch has no partner.

    Source: BBN (official code): ``l = 1 - ((epoch - 1) / epochs)^2``.

    Example: see ``tests/engine/test_two_branch_objective.py``.
    """
    if examples.partner is None:
        raise InputError(
            "a two-branch network needs a second batch from another sampler, got none; set "
            "partner.name=reversed"
        )
    images, labels = examples.partner
    weight = bbn_weight(learner.epoch, learner.epochs)
    mixed = cast("Callable[[Tensor, Tensor, float], Tensor]", learner.model.mixed)
    with learner.fabric.autocast():
        logits = mixed(examples.images, images, weight)
    conventional = learner.loss_at(logits, examples.target)
    with frozen(learner.loss):  # a loss with state counts a step once, by its conventional batch
        rebalanced = learner.loss_at(logits, labels)
    return weight * conventional + (1 - weight) * rebalanced
