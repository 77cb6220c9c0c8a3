"""One supervised step whose class gradients are balanced at the features."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.engine.carried import carried
from tailgrad.engine.learner import Learner
from tailgrad.optim import ShareBalancer
from tailgrad.types import Batch


def balanced_step(learner: Learner, batch: Batch) -> Tensor:
    """``loss(head(balancer(backbone(x), y)), y)``, backward, update; returns the detached loss.

    The loss carries the balancer as its submodule ``balancer``, so that both move and are stored together.
    It stands behind ``backbone`` for this forward pass only: a network in evaluation has none.

    Raises:
        InputError: the loss carries no ``ShareBalancer``, the network has no ``backbone``, or the target is
            not class indices.

    Example:
        >>> import torch
        >>> from tailgrad.models import create_model
        >>> loss = nn.CrossEntropyLoss()
        >>> loss.add_module("balancer", ShareBalancer(num_classes=2))
        >>> learner = Learner.plain(create_model("resnet32", 2), loss, lr=0.1)
        >>> batch = Batch(torch.rand(2, 3, 32, 32), torch.tensor([0, 1]), torch.arange(2))
        >>> bool(balanced_step(learner, batch) > 0), bool((loss.balancer.norm > 0).all())
        (True, True)
    """
    examples = learner.examples(batch)
    balancer = carried(learner.loss, "balancer", ShareBalancer)
    with _behind_backbone(learner.network, balancer, examples.target):
        loss = learner.objective(learner, examples)
    learner.optimizer.zero_grad(set_to_none=True)
    learner.fabric.backward(loss)
    learner.optimizer.step()
    return loss.detach()


@contextmanager
def _behind_backbone(network: nn.Module, balancer: ShareBalancer, target: Tensor) -> Iterator[None]:
    backbone = getattr(network, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise InputError(
            f"the network must have a module backbone that gives the features, got {type(network).__name__} "
            "without one; use tailgrad.models.Classifier"
        )
    mode = network.training

    def balance(_module: nn.Module, _images: object, features: Tensor) -> Tensor:
        # A monitor may try the network on other examples within this pass; it does so in evaluation mode.
        balanced: Tensor = balancer(features, target) if network.training == mode else features
        return balanced

    handle = backbone.register_forward_hook(balance)
    try:
        yield
    finally:
        handle.remove()
