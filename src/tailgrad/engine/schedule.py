"""Learning-rate factor as a pure function of the epoch, so that a resumed run needs no state for it."""

import math
from dataclasses import dataclass

from tailgrad.checks import one_of

KINDS = ("constant", "step", "multistep", "cosine")


@dataclass(frozen=True)
class Schedule:
    """The factor on the base learning rate after ``t`` epochs (a fraction within an epoch).

    ``constant`` 1; ``step`` gamma^floor(t / every); ``multistep`` gamma^(milestones passed); ``cosine``
    (1 + cos(pi t / epochs)) / 2. The first ``warmup`` epochs scale it linearly from 0.

    Args:
        kind: one of the four names.
        epochs: length of the cosine, in epochs.
        every: epochs between two steps.
        milestones: epochs at which ``multistep`` multiplies by ``gamma``.
        gamma: factor of one step.
        warmup: epochs of linear warm-up.

    Raises:
        InputError: ``kind`` is unknown.

    Source: arXiv 2606.05740 (steps), LDAM-DRW (multistep, warm-up), GALA (cosine, warm-up); cosine and
    warm-up advance with every step, the others with every epoch.

    Example:
        >>> Schedule("step", every=23, gamma=0.1).factor(24.5)
        0.1
    """

    kind: str = "constant"
    epochs: int = 1
    every: int = 1
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup: float = 0.0

    def __post_init__(self) -> None:
        one_of("schedule.name", self.kind, KINDS)

    def factor(self, t: float) -> float:
        """Factor after ``t`` epochs, t >= 0."""
        epoch = math.floor(t)
        shape = {
            "constant": 1.0,
            "step": self.gamma ** (epoch // max(1, self.every)),
            "multistep": self.gamma ** sum(epoch >= m for m in self.milestones),
            "cosine": (1 + math.cos(math.pi * min(1.0, t / max(1, self.epochs)))) / 2,
        }[self.kind]
        return shape * min(1.0, t / self.warmup) if self.warmup > 0 else shape
