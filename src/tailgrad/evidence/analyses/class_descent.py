"""Gradient descent that sees every class's gradient on its own: what each step does to each class."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tailgrad.evidence.analyses.small_sets import Part
from tailgrad.evidence.analyses.small_training import WORST, class_losses, mean_of, plain_losses
from tailgrad.optim import PCNGD
from tailgrad.optim.class_rows import ClassRows, class_rows

Direction = Callable[[Tensor, Tensor], Tensor]
"""class gradients [m, P] and class shares [m] -> direction u [P] of ``theta <- theta - rate u``"""


def plain(rows: Tensor, shares: Tensor) -> Tensor:
    """``sum_c pi_c g_c``: the gradient of the mean loss.

    Example:
        >>> plain(torch.eye(2), torch.tensor([0.9, 0.1]))
        tensor([0.9000, 0.1000])
    """
    return shares.to(rows) @ rows


def normalised(rows: Tensor, _shares: Tensor) -> Tensor:
    """PCNGD: every class pulls equally hard, whatever its share."""
    return PCNGD()(rows)


@dataclass
class Descent:
    """What T steps did to K classes.

    Args:
        losses: mean loss of each class before the first and after every step [T + 1, K].
        alignment: cosine of the step with each class's gradient on the batch [T, m].
        predicted: change of each class's loss that the first step should make, to first order [m].

    Example:
        >>> Descent([[0.7, 0.7], [0.5, 0.9], [0.4, 0.6]]).rise((1,))
        0.2
    """

    losses: list[list[float]]
    alignment: list[list[float]] = field(default_factory=list)
    predicted: list[float] = field(default_factory=list)

    def rise(self, classes: Sequence[int]) -> float:
        """The highest mean loss of some classes after any step minus that before all, in nats.

        Below 0 where it falls from the first step on.
        """
        path = [mean_of(row, classes) for row in self.losses]
        return round(max(path[1:]) - path[0], 9)

    def uphill(self, k: int) -> float:
        """Share of the steps that point against the gradient of class k; for whole batches."""
        return sum(row[k] < 0 for row in self.alignment) / len(self.alignment)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        return {"losses": self.losses, "alignment": self.alignment, "predicted": self.predicted}


def descend(
    model: nn.Module,
    whole: Part,
    batches: Iterable[Part],
    direction: Direction,
    *,
    rate: float,
    num_classes: int,
    shares: Tensor | None = None,
) -> Descent:
    """Plain steps ``theta <- theta - rate u`` with ``u`` made of the class gradients of each batch.

    Args:
        model: is trained.
        whole: examples that losses are reported on.
        batches: one a step; ``[whole] * T`` is gradient descent.
        direction: from class gradients to ``u``.
        rate: learning rate.
        num_classes: K.
        shares: class shares [K] in place of those of the batch. Full gradients know of class sizes only
            through these, so that any imbalance can be had with the same examples.

    Example:
        >>> part = Part(torch.eye(2), torch.arange(2))
        >>> net = nn.Linear(2, 2)
        >>> found = descend(net, part, [part] * 3, plain, rate=0.5, num_classes=2)
        >>> len(found.losses), len(found.alignment)
        (4, 3)
    """
    parameters = list(model.parameters())
    found = Descent([class_losses(model, whole, num_classes).tolist()])
    for batch in batches:
        losses = plain_losses(model(batch.inputs), batch.target)
        if not losses.isfinite().all():  # it has diverged
            found.losses.append([WORST] * num_classes)
            break
        seen = class_rows(losses, batch.target, parameters)
        step = direction(seen.rows, _shares(seen, shares))
        found.alignment.append(_alignment(seen.rows, step))
        found.predicted = found.predicted or (-rate * (seen.rows @ step)).tolist()
        _move(parameters, step, rate)
        found.losses.append(class_losses(model, whole, num_classes).tolist())
    return found


def _shares(seen: ClassRows, given: Tensor | None) -> Tensor:
    return seen.counts / seen.counts.sum() if given is None else given[seen.classes]


def _alignment(rows: Tensor, step: Tensor) -> list[float]:
    found: list[float] = torch.nn.functional.cosine_similarity(rows, step[None]).tolist()
    return found


@torch.no_grad()
def _move(parameters: Sequence[Tensor], step: Tensor, rate: float) -> None:
    for parameter, part in zip(parameters, torch.split(step, [p.numel() for p in parameters]), strict=True):
        parameter -= rate * part.view_as(parameter)
