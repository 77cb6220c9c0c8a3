"""Losses: (logits, target) to a loss.

A loss is an ``nn.Module`` built as ``Loss(class_counts=None, *, reduction="mean", options by name)`` and
called as ``loss(x, target)``. ``x`` is what its class attribute ``takes`` says: ``"logits"`` [N, K],
``"features"`` or ``"experts"``. ``target`` holds class indices [N] or probabilities [N, K]; with
probabilities t the loss of an example is ``sum_k t_k loss(x, k)``. ``reduction="none"`` gives [N]. Values
are computed in float32 or wider, inside autocast too. State lives in buffers and changes only in training
mode with gradients on, never inside ``frozen(loss)``. ``correction()`` answers how the loss shifts the
class prior, as an entry of the ledger, or None.

Where ``soft_targets`` is False, probabilities are refused. Where ``set_level`` is True the value belongs to
the whole batch: ``reduction="none"`` is refused, "mean" and "sum" run over classes. Where ``multi_label``
is True the target is a matrix of zeros and ones [N, K] instead.

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

from tailgrad.losses.any_loss import AnyLoss
from tailgrad.losses.asymmetric import AsymmetricLoss
from tailgrad.losses.balanced_softmax import BalancedSoftmaxLoss
from tailgrad.losses.bcl import BCLLoss
from tailgrad.losses.binary_cross_entropy import BinaryCrossEntropyLoss
from tailgrad.losses.class_conditional_smoothing import ClassConditionalSmoothing
from tailgrad.losses.class_weights import class_weights
from tailgrad.losses.cross_entropy import CrossEntropyLoss
from tailgrad.losses.dice import DiceLoss
from tailgrad.losses.distribution_balanced import DistributionBalancedLoss
from tailgrad.losses.dot_regression import DotRegressionLoss
from tailgrad.losses.dual_focal import DualFocalLoss
from tailgrad.losses.encouraging import EncouragingLoss
from tailgrad.losses.equalization import EqualizationLoss
from tailgrad.losses.focal import FocalLoss
from tailgrad.losses.frozen import frozen
from tailgrad.losses.gala import GALALoss
from tailgrad.losses.group_dro import GroupDROLoss
from tailgrad.losses.label_aware_smoothing import LabelAwareSmoothing
from tailgrad.losses.ldam import LDAMLoss
from tailgrad.losses.logit_adjusted import LogitAdjustedLoss
from tailgrad.losses.multi_label_asymmetric import MultiLabelAsymmetricLoss
from tailgrad.losses.multi_label_soft_f1 import MultiLabelSoftF1Loss
from tailgrad.losses.neural_collapse import NeuralCollapseLoss
from tailgrad.losses.normalized import NormalizedLoss
from tailgrad.losses.nt_xent import NTXentLoss
from tailgrad.losses.pairwise_auc import PairwiseAUCLoss
from tailgrad.losses.reweighted_auc import ReweightedAUCLoss
from tailgrad.losses.ride import RIDELoss
from tailgrad.losses.seesaw import SeesawLoss
from tailgrad.losses.soft_f1 import SoftF1Loss
from tailgrad.losses.spectral_decoupling import SpectralDecouplingLoss
from tailgrad.losses.squentropy import SquentropyLoss
from tailgrad.losses.sup_con import SupConLoss
from tailgrad.losses.vs import VSLoss

__all__ = [
    "AnyLoss",
    "AsymmetricLoss",
    "BCLLoss",
    "BalancedSoftmaxLoss",
    "BinaryCrossEntropyLoss",
    "ClassConditionalSmoothing",
    "CrossEntropyLoss",
    "DiceLoss",
    "DistributionBalancedLoss",
    "DotRegressionLoss",
    "DualFocalLoss",
    "EncouragingLoss",
    "EqualizationLoss",
    "FocalLoss",
    "GALALoss",
    "GroupDROLoss",
    "LDAMLoss",
    "LabelAwareSmoothing",
    "LogitAdjustedLoss",
    "MultiLabelAsymmetricLoss",
    "MultiLabelSoftF1Loss",
    "NTXentLoss",
    "NeuralCollapseLoss",
    "NormalizedLoss",
    "PairwiseAUCLoss",
    "RIDELoss",
    "ReweightedAUCLoss",
    "SeesawLoss",
    "SoftF1Loss",
    "SpectralDecouplingLoss",
    "SquentropyLoss",
    "SupConLoss",
    "VSLoss",
    "class_weights",
    "frozen",
]
