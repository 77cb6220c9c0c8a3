"""SAM whose ascent follows the classes that the others oppose beyond chance."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tailgrad.checks import InputError, in_range, one_of, positive_counts
from tailgrad.optim.gradient_lists import Gradients
from tailgrad.optim.sharpness_rule import SharpnessRule, ball
from tailgrad.optim.sharpness_sweeps import Sweeps

BY = ("conflict", "random")


class ConflictSAM(SharpnessRule):
    """``grad L(w + rho g_a / |g_a|)`` with ``g_a = sum_c a_c g_c``; classes in conflict have large weights a.

    ``a_c = floor + (1 - floor) K e_c / sum_j e_j`` with ``e_c >= 0`` how much class c is opposed beyond
    chance (``tailgrad.interference.opposition``), and g_c class c's part of the gradient of the batch's mean
    loss. Weights are 1 in the mean; they are 1 for all until ``follow``, and where nothing is opposed: that
    is SAM. Only proportions matter, since the radius stays rho. The floor keeps an ascent for batches in
    which every class is without opponents. For use inside ``SAM``; a run follows by itself.

    Args:
        class_counts: training examples of each class [K], each at least 1.
        floor: weight of a class without opponents, 0 to 1; 1 is SAM.
        after: epochs after which a run measures for the first time, a whole number, at least 1.
        every: epochs from one measurement to the next, a whole number, at least 1.
        by: whose weights a run takes: ``"conflict"`` those of the class itself; ``"random"``, its control,
            deals the same weights out anew by the seed, the same way each time.

    Raises:
        InputError: a count is not positive, an option is outside its range, or ``by`` is unknown.

    Source: ours. The ascent is that of asymmetric SAM as released (arXiv 2312.02517), with measured conflict
    in place of rarity.

    Example:
        >>> rule = ConflictSAM([100, 10, 1], floor=0.1)
        >>> rule.follow([0.0, 0.1, 0.3])
        >>> [round(a, 3) for a in rule.weights.tolist()]
        [0.1, 0.775, 2.125]
    """

    def __init__(
        self,
        class_counts: Sequence[int],
        *,
        floor: float = 0.1,
        after: int = 3,
        every: int = 5,
        by: str = "conflict",
    ) -> None:
        self.num_classes = len(positive_counts(class_counts))
        self.floor = in_range("floor", floor, 0, 1)
        self.after, self.every = _whole("after", after), _whole("every", every)
        self.by = one_of("by", by, BY)
        self.weights = torch.ones(self.num_classes, dtype=torch.float64)

    def follow(self, opposition: Sequence[float]) -> None:
        """Set the weights from e [K].

        Raises:
            InputError: there are not K numbers, or one is negative or not finite.
        """
        if len(opposition) != self.num_classes:
            raise InputError(
                f"opposition must hold {self.num_classes} numbers, one for each of class_counts, got "
                f"{len(opposition)}; give both in the same order"
            )
        values = [in_range(f"opposition[{c}]", float(e), 0) for c, e in enumerate(opposition)]
        found = torch.tensor(values, dtype=torch.float64)
        share = found / found.max() if found.any() else torch.ones_like(found)
        self.weights = self.floor + (1 - self.floor) * share / share.mean()

    def gradient(self, sweeps: Sweeps, rho: float) -> Gradients:
        """The plain gradient, uphill along the weighted one."""
        (leaning,) = sweeps.at_weights(self.weights).gradients
        return sweeps.perturbed(leaning, ball(leaning, rho))

    def is_due(self, epoch: int) -> bool:
        """Whether a run measures after this epoch."""
        return epoch >= self.after and (epoch - self.after) % self.every == 0

    def state_dict(self) -> dict[str, Tensor]:
        """The weights."""
        return {"weights": self.weights}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put back what ``state_dict`` gave.

        Raises:
            InputError: they are of another number of classes, or are no weights.
        """
        weights = state.get("weights", torch.empty(0)).to(torch.float64).cpu()
        if weights.shape != (self.num_classes,) or not bool((weights.isfinite() & (weights >= 0)).all()):
            raise InputError(
                f"weights must be {self.num_classes} finite numbers, none negative, got "
                f"{weights.tolist()}; resume a run with its own checkpoint"
            )
        self.weights = weights


def _whole(argument: str, value: int) -> int:
    if isinstance(value, bool) or value != int(in_range(argument, value, 1)):
        raise InputError(f"{argument} must be a whole number of epochs, got {value}; choose one from 1 on")
    return int(value)
