"""The loss of several experts that are kept diverse."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError, in_range, one_of
from tailgrad.losses.arguments import required_counts
from tailgrad.losses.cross_entropy import CrossEntropyLoss
from tailgrad.losses.each import each_of_mean
from tailgrad.losses.ldam import LDAMLoss
from tailgrad.losses.targets import check_tensor
from tailgrad.losses.weighting import ClassWeighting, check_reduction, reduce
from tailgrad.settings import Settings
from tailgrad.types import Correction

BASES: dict[str, type[nn.Module]] = {"cross_entropy": CrossEntropyLoss, "ldam": LDAMLoss}


class RIDELoss(Settings, nn.Module):
    """``sum_e [ base(z_e, y) + factor * mean(T)^2 * KL(softmax(mean z / T) || softmax(z_e / T)) ]``.

    ``T_k = t (K pi_k r + 1 - r) / max_j (K pi_j r + 1 - r)``: rare classes get a lower temperature. The mean
    expert carries no gradient; a negative factor rewards experts that differ from it.

    Args:
        class_counts: training examples of each class, each at least 1; needed.
        base: ``"cross_entropy"``, or ``"ldam"``, which wants heads ``Cosine``.
        base_options: further arguments of the base by name, such as ``{"weights": "effective"}``.
        factor: of the diversity, -0.2 in the source; 0 trains the experts as a plain ensemble.
        r: how far temperatures follow the class prior, 0 to 1.
        temperature: t, above 0.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]), of base and diversity alike.

    Attributes:
        head_needed: the name of the head that the base asks of every expert, or None.

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    The diversity has no bound: a large negative factor drives experts apart without end.

    Source: RIDE, arXiv 2010.01809, official code (factor -0.2, r 0.05), where ``T^2`` is the square of the
    mean temperature. There a factor of 0 trains the mean of the logits instead of each expert; not done here.

    Example:
        >>> experts = torch.randn(3, 4, 5)
        >>> loss = RIDELoss([50, 20, 10, 5, 1])
        >>> same = experts[:1].expand(3, 4, 5)
        >>> bool(torch.isclose(loss(same, torch.arange(4)), 3 * loss.base(same[0], torch.arange(4))))
        True
    """

    takes: ClassVar[str] = "experts"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False
    temperatures: Tensor

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        base: str = "cross_entropy",
        base_options: Mapping[str, Any] | None = None,
        factor: float = -0.2,
        r: float = 0.05,
        temperature: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        counts = required_counts(class_counts, "RIDELoss")
        self.reduction = check_reduction(reduction)
        self.base = _base(base, counts, base_options or {}, reduction)
        self.head_needed: str | None = getattr(self.base, "head_needed", None)
        self.factor = in_range("factor", factor, -torch.inf)
        in_range("r", r, 0, 1)
        in_range("temperature", temperature, 0, exclusive=True)
        leaning = [len(counts) * n / sum(counts) * r + 1 - r for n in counts]
        self.register_buffer(
            "temperatures", torch.tensor([temperature * value / max(leaning) for value in leaning])
        )

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, counted from 1; the base may defer its weights."""
        cast("Any", self.base).set_epoch(epoch)

    def forward(self, experts: Tensor, target: Tensor) -> Tensor:
        """The loss of the experts' logits [E, N, K] for class indices [N] or probabilities [N, K]."""
        losses, diversity = self._parts(experts, target)
        return losses if diversity is None else losses + diversity

    def each_of_mean(self, experts: Tensor, target: Tensor) -> Tensor:
        """The losses [N] of ``reduction="none"``, scaled so that their plain mean is that of ``"mean"``.

        The base's mean may divide by class weights; that of the diversity divides by N.
        """
        losses, diversity = self._parts(experts, target)
        losses = each_of_mean(self.base, losses, target)
        return losses if diversity is None else losses + diversity

    @property
    def weighting(self) -> ClassWeighting:
        """The class weights of the base."""
        return cast("ClassWeighting", self.base.weighting)

    def _parts(self, experts: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """Losses of the base over all experts and the weighted diversity, both reduced."""
        check_tensor("experts", experts)
        if experts.ndim != 3 or not experts.numel() or not experts.is_floating_point():
            raise InputError(
                "experts must be floating point logits [E, N, K], got "
                f"{experts.dtype} {list(experts.shape)}; use a MultiExpert model"
            )
        experts = experts.to(torch.promote_types(experts.dtype, torch.float32))
        self.weighting.watch.calls = len(experts)
        losses = torch.stack([self.base(logits, target) for logits in experts]).sum(0)
        if self.factor == 0:
            return losses, None
        temperatures = self.temperatures.to(experts.dtype)
        strength = self.factor * temperatures.mean() ** 2
        diversity = reduce(_divergences(experts / temperatures), None, self.reduction)
        return losses, strength * diversity

    def correction(self) -> Correction | None:
        """That of the base."""
        found: Correction | None = cast("Any", self.base).correction()
        return found


def _base(name: str, counts: tuple[int, ...], options: Mapping[str, Any], reduction: str) -> nn.Module:
    made = BASES[one_of("base", name, BASES)]
    try:
        return made(counts, reduction=reduction, **options)
    except TypeError as error:
        raise InputError(
            f"base_options must be options of {name}, got {dict(options)} ({error}); mend them"
        ) from error


def _divergences(experts: Tensor) -> Tensor:
    """``sum_e KL(mean || expert)`` [N] of scaled logits [E, N, K], the mean without gradient."""
    mean = experts.detach().mean(0).log_softmax(1)
    return (mean.exp() * (mean - experts.log_softmax(2))).sum(2).sum(0)
