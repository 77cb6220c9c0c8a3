"""Whether a loss that changes with the epoch is told which one it is."""

import warnings

import torch
from torch import Tensor, nn

from tailgrad.distributed import place
from tailgrad.losses.frozen import may_update


class EpochWatch:
    """Warns once if a loss with a schedule trains into a second epoch and was never told an epoch.

    An epoch is as many examples as the class counts add up to; where these are not known, the first batch
    warns. Passes that do not train (``may_update``) and compiled code do not count.

    Args:
        examples: training examples of an epoch, or 0 where they are not known.
        missing: what does not happen without ``set_epoch``, for the message.

    Example:
        >>> watch = EpochWatch(4, "the weights never apply")
        >>> watch.saw(nn.CrossEntropyLoss(), torch.arange(4)), watch.has_warned
        (None, False)
    """

    def __init__(self, examples: int, missing: str) -> None:
        self.examples, self.missing = examples, missing
        self.is_told = self.has_warned = False
        self.seen = 0
        self.calls = 1
        """of the loss for a batch, as of a base that judges several experts"""

    def saw(self, loss: nn.Module, target: Tensor) -> None:
        """Count the examples of a training batch; called from the loss's ``forward``.

        Warns:
            UserWarning: they are more than one epoch has.
        """
        if self.is_told or self.has_warned or torch.compiler.is_compiling() or not may_update(loss):
            return
        self.seen += len(target) * place()[1]
        if self.seen <= self.examples * self.calls:
            return
        self.has_warned = True
        warnings.warn(
            f"{type(loss).__name__} changes with the epoch and was never told one, so that {self.missing}; "
            "call set_epoch(epoch) of the loss before each epoch, counted from 1",
            UserWarning,
            stacklevel=5,
        )
