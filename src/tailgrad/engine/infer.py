"""Logits of a whole data set, in evaluation mode."""

from collections.abc import Iterable

import torch
from torch import Tensor

from tailgrad.engine.learner import Learner
from tailgrad.types import Batch


def infer(learner: Learner, batches: Iterable[Batch]) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [N, K] float32, targets [N] and source indices [N], on the CPU; the model's mode is restored.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
        >>> learner = Learner.plain(net, torch.nn.CrossEntropyLoss(), lr=0.1)
        >>> batch = Batch(torch.zeros(2, 3, 2, 2), torch.tensor([0, 1]), torch.arange(2))
        >>> infer(learner, [batch])[0].shape
        torch.Size([2, 2])
    """
    was_training = learner.model.training
    learner.model.eval()
    parts = []
    try:
        with torch.no_grad():
            for batch in batches:
                logits = learner.model(learner.images(batch.inputs))
                parts.append((logits.float().cpu(), batch.target.cpu(), batch.index.cpu()))
    finally:
        learner.model.train(was_training)
    logits, target, index = zip(*parts, strict=True)
    return torch.cat(logits), torch.cat(target), torch.cat(index)
