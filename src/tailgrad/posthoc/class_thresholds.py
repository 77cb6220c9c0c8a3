"""Per-class thresholds, tuned on held-out data."""

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from tailgrad.checks import in_range, one_of, positive_counts
from tailgrad.posthoc.coordinate_ascent import tuned_offsets
from tailgrad.posthoc.costs import Costs, cost_matrix
from tailgrad.posthoc.criteria import CRITERIA
from tailgrad.posthoc.held_out import held_out
from tailgrad.posthoc.logits import Logits, Values, transformed
from tailgrad.posthoc.objectives import Gains, MacroF1, Objective
from tailgrad.posthoc.state import known_classes, require_fit, take_shapes_when_loading
from tailgrad.types import Correction


class ClassThresholds(nn.Module):
    """``z + o`` with one offset a class, tuned for a figure of the hard predictions ``argmax z + o``.

    Args:
        class_counts: taken for uniformity; only their number matters.
        criterion: what is maximised on the held-out data: ``"macro_f1"`` or ``"balanced_accuracy"``, over
            the classes that occur there.
        cost: [K, K], at least 0, row: decision, column: true class; where given, the mean cost is minimised
            instead.
        sweeps: passes over the classes, at least 1; they end early where a pass moves nothing.

    Raises:
        InputError: an argument does not fit, logits of another number of classes arrive, or ``transform``
            comes before ``fit``.

    Coordinate ascent from 0: each class in turn takes the best of all cuts up to the last example that could
    bring a gain, given the others, so the figure never falls. Ties leave an offset where it is; classes
    absent from the held-out data keep 0. With few examples of a class the tuned figure is optimistic: judge
    on other data.

    Source: general knowledge of the method (threshold tuning; coordinate ascent over exact cuts is ours).

    Example:
        >>> logits, target = torch.tensor([[2.0, 0.0], [1.0, 0.0], [3.0, 0.0]]), torch.tensor([0, 1, 0])
        >>> method = ClassThresholds().fit(logits, target)
        >>> logits.argmax(1).tolist(), method.transform(logits).argmax(1).tolist()
        ([0, 0, 0], [0, 1, 0])
    """

    transductive: ClassVar[bool] = False
    offsets: Tensor
    cost: Tensor | None

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        criterion: str = "macro_f1",
        cost: Costs | None = None,
        sweeps: int = 5,
    ) -> None:
        super().__init__()
        self.counted = None if class_counts is None else len(positive_counts(class_counts))
        self.criterion = one_of("criterion", criterion, CRITERIA)
        self.sweeps = int(in_range("sweeps", sweeps, 1))
        self.register_buffer("cost", None if cost is None else cost_matrix(cost, self.counted))
        self.register_buffer("offsets", torch.empty(0))
        take_shapes_when_loading(self)

    @property
    def num_classes(self) -> int | None:
        """K, or None before counts, costs or data have shown it."""
        by_cost = None if self.cost is None else len(self.cost)
        return known_classes(self.offsets) or self.counted or by_cost

    @torch.no_grad()
    def fit(self, logits: Values, target: Values) -> Self:
        """Tune the offsets on held-out logits [N, K] and class indices [N]."""
        known = self.counted or (None if self.cost is None else len(self.cost))
        rows, classes = held_out(logits, target, known)
        labels = classes.numpy()
        objective = self._objective(labels, rows.shape[1])
        self.offsets = self.offsets.new_tensor(tuned_offsets(rows.numpy(), labels, objective, self.sweeps))
        return self

    def transform(self, logits: Logits) -> Logits:
        """Logits [N, K] plus the offsets, a tensor or an array as given."""
        return transformed(self, logits, self.num_classes)

    def forward(self, logits: Tensor) -> Tensor:
        """Logits [N, K] plus the offsets, for a tensor."""
        require_fit(self, self.offsets)
        return logits + self.offsets.to(logits)

    def correction(self) -> Correction:
        """The offsets as a shift ``-o``; listed without a number before ``fit``."""
        if not self.offsets.numel():
            return Correction("listed", (0.0,) * (self.num_classes or 0))
        return Correction("test_shift", tuple((-self.offsets).tolist()))

    def _objective(self, labels: np.ndarray, num_classes: int) -> Objective:
        if self.cost is not None:
            return Gains(-self.cost.T.cpu().double().numpy() / len(labels), labels)
        if self.criterion == "macro_f1":
            return MacroF1(labels, num_classes)
        support = np.bincount(labels, minlength=num_classes)
        return Gains(np.diag(1 / (np.maximum(support, 1) * np.count_nonzero(support))), labels)
