"""What the variants of sharpness-aware minimisation share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tailgrad.checks import InputError, in_range
from tailgrad.optim.gradient_lists import Gradients, joint_norm
from tailgrad.optim.sharpness_sweeps import Sweeps
from tailgrad.settings import Shown
from tailgrad.types import Correction

TINY = 1e-12
"""Added to lengths that divide, so that a gradient of 0 moves nothing."""


class SharpnessRule(Shown, ABC):
    """Which gradients are taken at the weights and which at perturbed ones; used inside ``SAM``.

    Example:
        >>> class Here(SharpnessRule):
        ...     def gradient(self, sweeps, rho):
        ...         return sweeps.at_weights(None).gradients[0]
        >>> w = torch.nn.Parameter(torch.ones(1))
        >>> closure = lambda: (3 * w, torch.tensor([0]))
        >>> Here().gradient(Sweeps(torch.nn.Linear(1, 1), [w], [closure]), 0.05)
        [tensor([3.])]
    """

    published_rho: ClassVar[float] = 0.05
    num_classes: int | None = None
    """K, or None where classes are not told apart: then soft targets [N, K] will do."""
    weights_at_rest: Tensor | None = None
    """Class weights [K] of the gradient that ``rho = 0`` gives in one pass; None for ones."""

    @abstractmethod
    def gradient(self, sweeps: Sweeps, rho: float) -> Gradients:
        """What the base optimiser is given, for a radius ``rho`` above 0."""

    def correction(self) -> Correction | None:
        """What the class weights of the gradient do to the class prior, for the ledger; None without any."""
        if self.weights_at_rest is None:
            return None
        return Correction("weight", tuple(self.weights_at_rest.log().tolist()))

    def state_dict(self) -> dict[str, Tensor]:
        """What an exact resume needs; empty for a rule without memory."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put back what ``state_dict`` gave."""

    @classmethod
    def passes(cls, _num_classes: int) -> float:
        """Cost of a step in ordinary steps; a forward pass counts as a third of one, a backward as two."""
        return 2.0


class PlainRule(SharpnessRule):
    """``grad L(w + rho g / |g|)`` with ``g = grad L(w)`` over all parameters jointly.

    Source: Foret et al., "Sharpness-Aware Minimization" (ICLR 2021), equations 2 and 3.

    Example: see ``SAM``.
    """

    def gradient(self, sweeps: Sweeps, rho: float) -> Gradients:
        """The gradient at the edge of the ball, straight uphill."""
        (uphill,) = sweeps.at_weights(None).gradients
        return sweeps.perturbed(uphill, ball(uphill, rho))


def ball(direction: Sequence[Tensor | None], rho: float) -> float:
    """The factor that makes a direction ``rho`` long; NaN if the direction is not finite.

    Example:
        >>> round(ball([torch.tensor([3.0, 4.0])], 0.05), 6)
        0.01
    """
    norm = joint_norm(direction)
    return rho / (norm + TINY) if norm < float("inf") else float("nan")


def class_values(argument: str, values: Sequence[float] | None, class_counts: Sequence[int]) -> Tensor:
    """One positive number a class [K] in float64; ``n_max / n_c`` where none are given.

    Raises:
        InputError: there are not K, or one is not positive.

    Example:
        >>> class_values("weights", None, [100, 10])
        tensor([ 1., 10.], dtype=torch.float64)
    """
    given = [max(class_counts) / n for n in class_counts] if values is None else list(values)
    if len(given) != len(class_counts):
        raise InputError(
            f"{argument} must hold {len(class_counts)} numbers, one for each of class_counts, got "
            f"{len(given)}; give both in the same order"
        )
    for k, value in enumerate(given):
        in_range(f"{argument}[{k}]", value, 0, exclusive=True)
    return torch.tensor(given, dtype=torch.float64)
