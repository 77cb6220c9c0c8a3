"""Heads: features to logits.

A head is an ``nn.Module`` built as ``Head(channels, num_classes, *, options by name)`` and called as
``head(features) -> logits [N, K]``. Features are a map [N, C, H, W], tokens [N, C, L] (each token counts as
one position of a map) or a pooled vector [N, C] (a map of one position). A class attribute ``takes`` says
what a classifier hands over: ``"map"`` (the map where the backbone has a 2-D grid, else the pooled vector)
or ``"pooled"`` (always the pooled vector). Logits are float32 or wider, inside autocast too. Heads made of
branches expose them as ``branches``, an ``nn.ModuleList``.

Example:
    >>> import torch
    >>> CSBA(16, 6)(torch.randn(2, 16, 4, 4)).shape
    torch.Size([2, 6])

To add a head, write one file with one class and export the class here; its name in recipes and on the
command line is the class name in snake case (``BranchSum`` is ``branch_sum``). A constructor argument
``grid``, where a head has one, is filled in with whether the backbone's map is a 2-D grid.
"""

from tailgrad.heads.branch_softmax import BranchSoftmax
from tailgrad.heads.branch_sum import BranchSum
from tailgrad.heads.class_heads import ClassHeads
from tailgrad.heads.csba import CSBA
from tailgrad.heads.linear import Linear

__all__ = ["CSBA", "BranchSoftmax", "BranchSum", "ClassHeads", "Linear"]
