"""One step of an optimiser that wants one loss an example and differentiates by itself."""

from collections.abc import Callable
from typing import cast

from torch import Tensor

from tailgrad.distributed import rows_of_all
from tailgrad.engine.learner import Learner
from tailgrad.types import Batch


def combined_step(learner: Learner, batch: Batch) -> Tensor:
    """Forward, ``optimizer.step(closure)``; returns the detached mean loss (a scalar on the device).

    ``learner.optimizer`` holds a ``ClassGradientOptimizer`` and ``learner.loss`` gives one loss an example
    (``reduction="none"``). The closure runs the network itself under the learner's precision, not what
    Fabric wraps around it: that insists on ``fabric.backward``, and under several processes the optimiser
    merges gradients itself. A batch whose loss is not finite changes nothing, so that the loop can name it.

    Raises:
        InputError: the loss is reduced or the target is not class indices.

    Example:
        >>> import torch
        >>> from tailgrad.optim import ClassGradientOptimizer, PCGrad
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2, bias=False))
        >>> learner = Learner.plain(net, torch.nn.CrossEntropyLoss(reduction="none"), lr=0.1)
        >>> optimizer = ClassGradientOptimizer(net, torch.optim.SGD(net.parameters(), lr=0.1), PCGrad())
        >>> learner.optimizer = learner.fabric.setup_optimizers(optimizer)
        >>> batch = Batch(torch.zeros(2, 3, 2, 2), torch.tensor([0, 1]), torch.arange(2))
        >>> combined_step(learner, batch)
        tensor(0.6931)
    """
    examples = learner.examples(batch)
    losses = learner.objective(learner.direct(), examples)
    everyone, _ = rows_of_all(losses.detach())
    if everyone.isfinite().all():
        step = cast("Callable[[Callable[[], tuple[Tensor, Tensor]]], Tensor]", learner.optimizer.step)
        step(lambda: (losses, examples.target))
    return everyone.mean()
