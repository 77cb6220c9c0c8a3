"""One step of a sharpness-aware optimiser, which runs the network several times."""

from collections.abc import Callable
from typing import cast

from torch import Tensor

from tailgrad.distributed import mean_over_ranks
from tailgrad.engine.learner import Learner
from tailgrad.types import Batch


def sharp_step(learner: Learner, batch: Batch) -> Tensor:
    """``optimizer.step(closure)`` on one augmented batch; returns the detached mean loss at the weights.

    ``learner.optimizer`` holds a SAM, ``learner.loss`` gives one loss an example (``reduction="none"``).
    Images are augmented and mixed once, so that all passes see the same ones.

    Raises:
        InputError: the loss is reduced, or the target does not suit the variant.

    Example:
        >>> import torch
        >>> from tailgrad.optim import SAM
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2, bias=False))
        >>> learner = Learner.plain(net, torch.nn.CrossEntropyLoss(reduction="none"), lr=0.1)
        >>> sam = SAM(net, torch.optim.SGD(net.parameters(), lr=0.1))
        >>> learner.optimizer = learner.fabric.setup_optimizers(sam)
        >>> batch = Batch(torch.zeros(2, 3, 2, 2), torch.tensor([0, 1]), torch.arange(2))
        >>> sharp_step(learner, batch)
        tensor(0.6931)
    """
    examples, direct = learner.examples(batch), learner.direct()
    step = cast("Callable[[Callable[[], tuple[Tensor, Tensor]]], Tensor]", learner.optimizer.step)
    loss = step(lambda: (learner.objective(direct, examples), examples.target))
    return mean_over_ranks(loss, len(examples.target))
