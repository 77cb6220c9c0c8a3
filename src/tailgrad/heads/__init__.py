"""Heads: features to logits.

A head is an ``nn.Module`` built as ``Head(channels, num_classes, *, options by name)`` and called as
``head(features) -> logits [N, K]``. Features are a map [N, C, H, W], tokens [N, C, L] (each token counts as
one position of a map) or a pooled vector [N, C] (a map of one position). A class attribute ``takes`` says
what a classifier hands over: ``"map"`` (the map where the backbone has a 2-D grid, else the pooled vector)
or ``"pooled"`` (always the pooled vector). Logits are float32 or wider, inside autocast too. Heads made of
branches expose them as ``branches``, an ``nn.ModuleList``. A head that embeds the pooled features before its
class vectors meet them has ``embed(features) -> [N, D]`` and ``classify(embedded) -> logits``; losses on
features receive what is embedded.

``tau_normalize`` and ``nearest_class_mean`` make a new head from a trained one or from features;
``scaled.ScaledHead`` stands around a trained head.

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
from tailgrad.heads.conflict_branches import ConflictBranches
from tailgrad.heads.cosine import Cosine
from tailgrad.heads.csba import CSBA
from tailgrad.heads.etf import ETF
from tailgrad.heads.linear import Linear
from tailgrad.heads.ncm import nearest_class_mean
from tailgrad.heads.se_gate import SEGate
from tailgrad.heads.tau_norm import tau_normalize
from tailgrad.heads.wider_head import WiderHead

__all__ = [
    "CSBA",
    "ETF",
    "BranchSoftmax",
    "BranchSum",
    "ClassHeads",
    "ConflictBranches",
    "Cosine",
    "Linear",
    "SEGate",
    "WiderHead",
    "nearest_class_mean",
    "tau_normalize",
]
