"""Losses: (logits, target) to a loss.

A loss is an ``nn.Module`` built as ``Loss(class_counts=None, *, reduction="mean", options by name)`` and
called as ``loss(x, target)``. ``x`` is what its class attribute ``takes`` says: ``"logits"`` [N, K],
``"features"`` or ``"experts"``. ``target`` holds class indices [N] or probabilities [N, K]; with
probabilities t the loss of an example is ``sum_k t_k loss(x, k)``. ``reduction="none"`` gives [N]. Values
are computed in float32 or wider, inside autocast too. State lives in buffers and changes only in training
mode with gradients on, never inside ``frozen(loss)``. ``correction()`` answers how the loss shifts the
class prior, as an entry of the ledger, or None.

A loss that is not finite is returned as it is: the training loop knows which files to name. Targets are
checked value by value on the CPU only, since reading them on an accelerator would wait for it.

Example:
    >>> import torch
    >>> loss = CrossEntropyLoss([100, 10, 1], weights="inverse")
    >>> loss(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([2]))
    tensor(2.4076)

To add a loss, write one file with one class and export the class here; its name in recipes is the class
name in snake case without ``_loss``.
"""

from tailgrad.losses.class_weights import class_weights
from tailgrad.losses.cross_entropy import CrossEntropyLoss
from tailgrad.losses.focal import FocalLoss
from tailgrad.losses.frozen import frozen

__all__ = ["CrossEntropyLoss", "FocalLoss", "class_weights", "frozen"]
