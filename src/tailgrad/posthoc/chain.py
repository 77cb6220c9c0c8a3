"""Several post-hoc methods, one after the other."""

import copy
from collections.abc import Sequence
from typing import Protocol, Self, cast

import torch
from torch import Tensor, nn

from tailgrad.posthoc.held_out import held_out
from tailgrad.posthoc.logits import Logits, Values, transformed
from tailgrad.types import Correction


class _Method(Protocol):
    transductive: bool

    def fit(self, logits: Values, target: Values) -> "_Method": ...

    def transform(self, logits: Tensor) -> Tensor: ...

    def correction(self) -> Correction | None: ...


class Chain(nn.Module):
    """``m_n(... m_2(m_1(z)))``, each method fitted on what those before it give.

    Args:
        steps: methods in the order of use; none at all changes nothing.

    Source: ours.

    Example:
        >>> from tailgrad.posthoc import LogitAdjustment, TemperatureScaling
        >>> chain = Chain([LogitAdjustment([9, 1]), TemperatureScaling()])
        >>> chain = chain.fit(torch.tensor([[3.0, 0.0], [3.0, 0.0]]), torch.tensor([0, 1]))
        >>> chain.transform(torch.tensor([[2.0, 0.0]])).argmax(1)
        tensor([1])
    """

    def __init__(self, steps: Sequence[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    @property
    def transductive(self) -> bool:
        """Whether a prediction depends on the other rows given, by any step."""
        return any(step.transductive for step in self._methods())

    def fit(self, logits: Values, target: Values) -> Self:
        """Fit every step on held-out logits [N, K] and class indices [N]."""
        rows, classes = held_out(logits, target)
        for step in self._methods():
            step.fit(rows, classes)
            # A copy transforms: a streaming step must not count the held-out rows twice.
            rows = copy.deepcopy(step).transform(rows)
        return self

    def transform(self, logits: Logits) -> Logits:
        """Logits [N, K] after all steps, a tensor or an array as given."""
        return transformed(self, logits)

    def forward(self, logits: Tensor) -> Tensor:
        """Logits after all steps, for a tensor [N, K]."""
        for step in self._methods():
            logits = step.transform(logits)
        return logits

    def correction(self) -> Correction | None:
        """The sum of the steps' shifts; listed where all are listed; None where none answers."""
        found = [c for c in (step.correction() for step in self._methods()) if c is not None]
        shifts = [c.log_shift for c in found if c.kind != "listed"]
        if shifts:
            return Correction("test_shift", tuple(torch.tensor(shifts).sum(0).tolist()))
        return found[0] if found else None

    def _methods(self) -> list[_Method]:
        return cast("list[_Method]", list(self.steps))
