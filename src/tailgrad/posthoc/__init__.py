"""Post-hoc methods: fitted on held-out logits, applied to logits.

A method is an ``nn.Module`` built as ``Method(class_counts=None, *, options by name)`` with
``fit(logits [N, K], target [N]) -> self``, ``transform(logits) -> logits`` (tensors or NumPy arrays, given
back as the kind that came) and ``correction()``, its entry in the correction ledger: ``"test_shift"``,
``"listed"`` where its size is not known before ``fit``, or None. What is fitted lives in buffers, so it is
saved and loaded with ``state_dict``; a method built without counts takes K from what it is fitted on or
loads. Called as a module, ``method(logits)``, it transforms a tensor unchecked, for use behind a network.

Fit on held-out data, never on the test set. A transformed row depends on that row alone, unless
``method.transductive`` is True. Hard targets only; logits that are not finite are refused by ``fit``.

Example:
    >>> import torch
    >>> held_out = torch.tensor([[3.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])
    >>> method = Chain([LogitAdjustment([90, 10], tau="tuned"), TemperatureScaling()]).fit(*held_out)
    >>> method.transform(torch.tensor([[1.0, 0.0]])).argmax(1)
    tensor([1])

To add a method, write one file with one class and export the class here; its name in recipes is the class
name in snake case.
"""

from tailgrad.posthoc.affine_group_correction import AffineGroupCorrection
from tailgrad.posthoc.chain import Chain
from tailgrad.posthoc.class_thresholds import ClassThresholds
from tailgrad.posthoc.cost_matrix import CostMatrix
from tailgrad.posthoc.logit_adjustment import LogitAdjustment
from tailgrad.posthoc.prediction_rebalancing import PredictionRebalancing
from tailgrad.posthoc.temperature_scaling import TemperatureScaling

__all__ = [
    "AffineGroupCorrection",
    "Chain",
    "ClassThresholds",
    "CostMatrix",
    "LogitAdjustment",
    "PredictionRebalancing",
    "TemperatureScaling",
]
