"""A supervised loss with a second loss on features beside it."""

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.distributed import as_one_process, for_averaging, rows_of_all
from tailgrad.engine.carried import carried
from tailgrad.engine.examples import Examples
from tailgrad.engine.learner import Learner


class Auxiliary(nn.Module):
    """``weight * loss(projector(features), labels)``.

    Args:
        loss: takes features: [V, N, D] of several views, or [N, D].
        weight: lambda, at least 0.
        projector: pooled features -> what the loss takes; None for the features themselves.
        on_views: whether the loss takes views rather than the images of the supervised loss.

    Raises:
        InputError: the weight is negative or not finite.

    Source: arXiv 2312.02517 (Joint-SSL: both losses minimised together, no pre-training); weight, projector
    and views assumed.

    Example:
        >>> from tailgrad.losses import NTXentLoss
        >>> joint = Auxiliary(NTXentLoss(), weight=0.5)
        >>> joint(torch.randn(2, 4, 8), torch.tensor([0, 1, 1, 0])).shape
        torch.Size([])
    """

    def __init__(
        self, loss: nn.Module, weight: float, projector: nn.Module | None = None, *, on_views: bool = True
    ) -> None:
        super().__init__()
        self.weight = in_range("auxiliary.weight", weight, 0)
        self.loss, self.on_views = loss, on_views
        self.projector = nn.Identity() if projector is None else projector

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """The weighted loss of features [V, N, D] or [N, D]."""
        wide = features.to(torch.promote_types(features.dtype, torch.float32))
        projected = self.projector(wide.flatten(0, -2)).view(*features.shape[:-1], -1)
        value: Tensor = self.weight * self.loss(projected, labels)
        return value


def joint_objective(learner: Learner, examples: Examples) -> Tensor:
    """``loss + weight * auxiliary``: the supervised loss on the ordinary images, the other on its views.

    The loss carries an ``Auxiliary`` as its submodule ``auxiliary``. Views pass through the same network in a
    pass of their own. Where the supervised loss is one number an example, the second loss is added to each,
    so that their mean is the sum of both.

    Raises:
        InputError: the loss carries no ``Auxiliary``.

    Example: see ``tests/engine/test_joint_objective.py``.
    """
    auxiliary = carried(learner.loss, "auxiliary", Auxiliary)
    output = learner.outputs(examples.images)
    takes = getattr(learner.loss, "takes", "logits")
    supervised = learner.loss_at(getattr(output, takes), examples.target)
    features, views = output.features, examples.views
    if auxiliary.on_views and views is not None:
        features = learner.outputs(views.flatten(0, 1)).features.view(len(views), len(examples.labels), -1)
    return supervised + _of_all(auxiliary, features, examples.labels, each=supervised.ndim > 0)


def _of_all(auxiliary: Auxiliary, features: Tensor, labels: Tensor, *, each: bool) -> Tensor:
    """The second loss of all ranks' examples, the same on each."""
    everyone, own = rows_of_all(features.movedim(-2, 0))
    targets, _ = rows_of_all(labels)
    with as_one_process():
        value: Tensor = auxiliary(everyone.movedim(0, -2), targets)
    # Added to every example of this rank, it takes part in their mean over all ranks by their share.
    for_averaging(everyone, len(targets[own]) / len(targets) if each else None)
    return value
