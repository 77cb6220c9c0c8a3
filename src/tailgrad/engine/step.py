"""One optimiser step of supervised training."""

from torch import Tensor

from tailgrad.engine.learner import Learner
from tailgrad.types import Batch


def supervised_step(learner: Learner, batch: Batch) -> Tensor:
    """Forward, loss, backward, update; returns the detached loss (a scalar on the device).

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
        >>> learner = Learner.plain(net, torch.nn.CrossEntropyLoss(), lr=0.1)
        >>> batch = Batch(torch.zeros(2, 3, 2, 2), torch.tensor([0, 1]), torch.arange(2))
        >>> bool(supervised_step(learner, batch) > 0)
        True
    """
    loss = learner.objective(learner, learner.examples(batch))
    learner.optimizer.zero_grad(set_to_none=True)
    learner.fabric.backward(loss)
    learner.optimizer.step()
    return loss.detach()
