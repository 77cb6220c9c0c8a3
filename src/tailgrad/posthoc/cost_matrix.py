"""Decisions of least expected cost."""

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError, positive_counts
from tailgrad.posthoc.costs import Costs, cost_matrix
from tailgrad.posthoc.held_out import held_out
from tailgrad.posthoc.logits import Logits, Values, transformed
from tailgrad.types import Correction


class CostMatrix(nn.Module):
    """Scores whose arg-max is ``argmin_a sum_y cost(a, y) p_y`` with ``p = softmax(z)``.

    Args:
        class_counts: taken for uniformity; only their number matters.
        cost: [K, K], at least 0: row a, column y holds the cost of deciding a where y is true (the transpose
            of a confusion matrix's layout). Needed.

    Raises:
        InputError: no cost, one that is not square, negative or infinite, or logits of another number of
            classes.

    The score is ``log sum_y (max_b cost(b, y) - cost(a, y)) p_y``: the logarithm of what deciding a saves in
    expectation over the worst decision, so that 0-1 costs give the logarithm of p itself, and softmax gives
    each decision's share of the savings. These are for the decision, not probabilities: put it last in a
    chain, after the calibration that it relies on. Nothing is fitted.

    Source: Bayes decision rule (general knowledge).

    Example:
        >>> logits = torch.tensor([[0.8, 0.2]]).log()
        >>> CostMatrix(cost=[[0, 10], [1, 0]]).transform(logits).exp()
        tensor([[0.8000, 2.0000]])
    """

    transductive: ClassVar[bool] = False
    cost: Tensor

    def __init__(self, class_counts: Sequence[int] | None = None, *, cost: Costs | None = None) -> None:
        super().__init__()
        if cost is None:
            raise InputError("cost must be a K x K matrix, got None; pass cost=[[...], ...]")
        k = None if class_counts is None else len(positive_counts(class_counts))
        self.register_buffer("cost", cost_matrix(cost, k))

    def fit(self, logits: Values, target: Values) -> Self:
        """Check held-out logits [N, K] and class indices [N]; nothing is learnt from them."""
        held_out(logits, target, len(self.cost))
        return self

    def transform(self, logits: Logits) -> Logits:
        """Scores [N, K] of logits [N, K], a tensor or an array as given."""
        return transformed(self, logits, len(self.cost))

    def forward(self, logits: Tensor) -> Tensor:
        """Scores of a tensor [N, K]."""
        saved = logits.softmax(1) @ self._savings().T.to(logits)
        return saved.clamp(min=torch.finfo(saved.dtype).tiny).log()

    def correction(self) -> Correction | None:
        """``-log cost_y`` as a shift where cost depends on the true class alone, None where it is constant.

        Then the decision is ``argmax_a cost_a p_a``. Other costs are listed.
        """
        by_class = self._savings().diagonal()
        if not torch.equal(self._savings(), by_class.diag()) or not by_class.all():
            return Correction("listed", (0.0,) * len(self.cost))
        if (by_class == by_class[0]).all():
            return None
        return Correction("test_shift", tuple((-by_class.log()).tolist()))

    def _savings(self) -> Tensor:
        return self.cost.max(0).values - self.cost
