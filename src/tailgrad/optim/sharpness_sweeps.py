"""All passes over one batch: at the weights, and at perturbed ones."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.distributed import is_spread, rows_of_all, sum_over_ranks
from tailgrad.frozen import frozen
from tailgrad.models.joint_norm import JOINT
from tailgrad.optim.gradient_lists import Gradients, merged
from tailgrad.optim.replay import Draws, moved, replay
from tailgrad.optim.sharpness_closures import Closure, checked


@dataclass(frozen=True)
class Found:
    """What the passes at the weights gave.

    Args:
        gradients: one for each set of class weights asked for.
        classes: class c's part of the gradient of the mean loss, for the classes of the batch.
        counts: their examples [K]; empty if gradients by class were not asked for.

    Example: see ``Sweeps``.
    """

    gradients: list[Gradients]
    classes: dict[int, Gradients]
    counts: Tensor


class Sweeps:
    """One batch over all closures and processes: ``grad (1/N) sum_i a(y_i) loss_i``, wherever asked.

    N is the number of examples of all closures of all processes, ``a`` [K] are weights of classes.

    Args:
        model: whose buffers only the first passes move.
        parameters: leaves to differentiate by; ``.grad`` is used on the way and left None.
        closures: each returns (losses [N], target [N]).
        num_classes: K; None for rules that do not tell classes apart.
        scale: factor on the losses during backward, taken out of the gradients (loss scaling).

    Example:
        >>> w = nn.Parameter(torch.tensor([2.0]))
        >>> closure = lambda: (torch.cat([w, 3 * w]).square(), torch.tensor([0, 1]))
        >>> sweeps = Sweeps(nn.Linear(1, 1), [w], [closure])
        >>> plain, second = sweeps.at_weights(None, torch.tensor([0.0, 1.0])).gradients
        >>> plain, second  # of (w^2 + 9 w^2) / 2 and of its second half
        ([tensor([20.])], [tensor([18.])])
        >>> sweeps.perturbed(plain, 0.05)  # at w = 3
        [tensor([30.])]
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Sequence[Tensor],
        closures: Sequence[Closure],
        *,
        num_classes: int | None = None,
        scale: float = 1.0,
    ) -> None:
        self.parameters = list(parameters)
        self.loss = torch.tensor(math.nan)
        self.target = torch.empty(0)
        self._model, self._closures = model, closures
        self._num_classes, self._scale = num_classes, scale
        self._targets: list[Tensor] = []
        self._unit: float = 0
        self._total = 0
        self._draws = Draws(self.parameters)

    def at_weights(self, *weights: Tensor | None, by_class: Sequence[Tensor] = ()) -> Found:
        """One forward pass a closure and one backward pass for each gradient; sets ``loss``.

        Args:
            weights: class weights [K] of each gradient wanted, None for ones.
            by_class: parameters for which gradients by class are wanted too.
        """
        gradients: list[Gradients] = [[None] * len(self.parameters) for _ in weights]
        plain: list[_Job] = [(w, into, self.parameters) for w, into in zip(weights, gradients, strict=True)]
        classes: dict[int, Gradients] = {}
        said = []
        for closure in self._closures:
            losses, target = checked(closure(), self._num_classes)
            self._unit = self._unit or self._unit_of(len(losses))
            said.append(losses.detach())
            self._targets.append(target)
            own: list[_Job] = [
                (self.only(c), classes.setdefault(c, [None] * len(by_class)), by_class)
                for c in (self._classes_in(target) if by_class else [])
            ]
            jobs = own + plain
            # a monitor is to hear each example once: in the plain gradient, else in parts that add up
            heard = plain[:1] if plain and plain[0][0] is None else plain or own
            for left, job in enumerate(jobs, start=1 - len(jobs)):
                with nullcontext() if any(job is h for h in heard) else frozen():
                    self._add(losses, target, job, retain=left < 0)
        self._close(torch.cat(said))
        counts = self._class_counts() if by_class else torch.empty(0)
        wanted = counts.nonzero().flatten().tolist()
        return Found(
            [self._merged(g, self.parameters) for g in gradients],
            {c: self._merged(classes.get(c, [None] * len(by_class)), by_class) for c in wanted},
            counts,
        )

    def perturbed(
        self, direction: Sequence[Tensor | None], length: float, weights: Tensor | None = None
    ) -> Gradients:
        """The gradient at ``w + length * direction``; comes after ``at_weights``.

        Weights, buffers, losses and random generators are left as they were. A length that is not finite
        gives the direction back, from which it came: that step is skipped.

        Args:
            direction: one tensor a parameter, None for none.
            length: factor on the direction.
            weights: class weights [K], None for ones.
        """
        if not math.isfinite(length):
            return list(direction)
        found: Gradients = [None] * len(self.parameters)
        with replay(self._model, self._draws), moved(self.parameters, direction, length):
            for closure, target in zip(self._closures, self._targets, strict=True):
                self.target = target
                losses, again = checked(closure(), self._num_classes)
                _check_same(again, target)
                self._add(losses, target, (weights, found, self.parameters))
        return self._merged(found, self.parameters)

    def _add(self, losses: Tensor, target: Tensor, job: "_Job", *, retain: bool = False) -> None:
        """Add to a gradient through ``.grad``, so that layouts and sums are those of ordinary training."""
        weights, into, parameters = job
        share = torch.full_like(losses, self._scale / self._unit, requires_grad=False)
        if weights is not None:
            share = share * weights.to(share)[target.to(share.device).long()]
        for parameter, gradient in zip(parameters, into, strict=True):
            parameter.grad = gradient
        torch.autograd.backward(losses, share, retain_graph=retain, inputs=list(parameters))
        for place, parameter in enumerate(parameters):
            into[place], parameter.grad = parameter.grad, None

    def only(self, label: int) -> Tensor:
        """Class weights [K] of 1 for one class and 0 for the others."""
        return torch.arange(self._num_classes or label + 1) == label

    def _unit_of(self, number: int) -> float:
        """This closure's examples, the same on all ranks: BatchNorm over ranks mixes their losses."""
        if not is_spread():
            return number
        return float(self._over_ranks(torch.tensor(number))) / dist.get_world_size()

    def _classes_in(self, target: Tensor) -> list[int]:
        """Classes to differentiate by, on all ranks the same where they take their steps together."""
        if is_spread() and any(isinstance(m, JOINT) for m in self._model.modules()):
            target, _ = rows_of_all(target)
        found: list[int] = torch.unique(target).tolist()
        return found

    def _close(self, losses: Tensor) -> None:
        self.loss = losses.mean()
        self._total = int(self._over_ranks(torch.tensor(len(losses))))

    def _class_counts(self) -> Tensor:
        target = torch.cat(self._targets).long()
        return self._over_ranks(torch.bincount(target, minlength=self._num_classes or 0)).cpu()

    def _over_ranks(self, values: Tensor) -> Tensor:
        return sum_over_ranks(values.to(self.parameters[0].device)) if is_spread() else values

    def _merged(self, gradients: Gradients, parameters: Sequence[Tensor]) -> Gradients:
        # Sums are in units of the first closure's mean, so that one closure needs no further rounding.
        return merged(gradients, parameters, self._unit / self._total / self._scale)


_Job = tuple[Tensor | None, Gradients, Sequence[Tensor]]
"""Class weights, where the gradient is added up, and by what is differentiated."""


def _check_same(again: Tensor, target: Tensor) -> None:
    if again.shape != target.shape:
        raise InputError(
            f"closure must return the same examples whenever it is called, got targets {list(target.shape)} "
            f"and then {list(again.shape)}; draw the batch outside the closure"
        )
