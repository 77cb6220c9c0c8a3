"""Sharpness-aware minimisation that leans to rare classes, by name of its variant."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from tailgrad.checks import InputError, nearest, one_of, positive_counts
from tailgrad.optim.cc_sam import CCSAM
from tailgrad.optim.conflict_sam import ConflictSAM
from tailgrad.optim.focal_sam import FocalSAM
from tailgrad.optim.gradient_lists import Gradients, weighted_sum
from tailgrad.optim.imb_sam import ImbSAM
from tailgrad.optim.sam import SAM
from tailgrad.optim.sharpness_rule import PlainRule, SharpnessRule, ball, class_values
from tailgrad.optim.sharpness_sweeps import Sweeps


class DirectionRule(SharpnessRule):
    """``grad L(w + rho g_w / |g_w|)`` with ``g_w`` the gradient of the class-weighted loss.

    Args:
        class_counts: training examples of each class, each at least 1.
        weights: K positive numbers; None is ``n_max / n_c``. Only their proportions matter.

    Raises:
        InputError: counts or weights are not positive or differ in number.

    Source: the authors' code of arXiv 2312.02517.

    Example:
        >>> DirectionRule([100, 10]).weights.tolist()
        [1.0, 10.0]
    """

    def __init__(self, class_counts: Sequence[int], *, weights: Sequence[float] | None = None) -> None:
        counts = positive_counts(class_counts)
        self.num_classes = len(counts)
        self.weights = class_values("weights", weights, counts)

    def gradient(self, sweeps: Sweeps, rho: float) -> Gradients:
        """The plain gradient, uphill along the weighted one."""
        (leaning,) = sweeps.at_weights(self.weights).gradients
        return sweeps.perturbed(leaning, ball(leaning, rho))


class ScaledRule(SharpnessRule):
    """``grad L(w + rho sum_c s_c g_c / |sum_c g_c|)`` with ``g_c`` class c's part of ``grad L``.

    Args:
        class_counts: training examples of each class, each at least 1.
        scales: K positive numbers s_c; None is ``n_max / n_c``. All 1 is SAM, all 2 doubles the radius.

    Raises:
        InputError: counts or scales are not positive or differ in number.

    Source: our reading of the prose of arXiv 2312.02517 ("a larger inner step for minority classes"); the
    formula and the default scales are assumed.

    Example:
        >>> ScaledRule([100, 10], scales=[1, 3]).scales.tolist()
        [1.0, 3.0]
    """

    def __init__(self, class_counts: Sequence[int], *, scales: Sequence[float] | None = None) -> None:
        counts = positive_counts(class_counts)
        self.num_classes = len(counts)
        self.scales = class_values("scales", scales, counts)

    def gradient(self, sweeps: Sweeps, rho: float) -> Gradients:
        """The plain gradient, further uphill for classes of large scale."""
        plain, stretched = sweeps.at_weights(None, self.scales).gradients
        return sweeps.perturbed(stretched, ball(plain, rho))

    @classmethod
    def passes(cls, _num_classes: int) -> float:
        """Two backward passes over the first forward pass, and a second step."""
        return 8 / 3


class PerClassRule(SharpnessRule):
    """``sum_c (n_c / N) grad L_c(w + rho s_c g_c / |g_c|)`` over the classes of the batch, a pass for each.

    A step holds one gradient for each class of the batch.

    Args:
        class_counts: training examples of each class, each at least 1.
        scales: K positive numbers s_c on the radius; None is 1 for all, so that a batch of one class is SAM.

    Raises:
        InputError: counts or scales are not positive or differ in number.

    Source: the idea of CC-SAM carried over to all parameters; radii equal by default (assumed).

    Example:
        >>> PerClassRule([100, 10]).scales.tolist()
        [1.0, 1.0]
    """

    def __init__(self, class_counts: Sequence[int], *, scales: Sequence[float] | None = None) -> None:
        counts = positive_counts(class_counts)
        self.num_classes = len(counts)
        self.scales = class_values("scales", [1.0] * len(counts) if scales is None else scales, counts)

    def gradient(self, sweeps: Sweeps, rho: float) -> Gradients:
        """Each class's part at the edge of a ball of its own."""
        classes = sweeps.at_weights(by_class=sweeps.parameters).classes
        total: Gradients = [None] * len(sweeps.parameters)
        for label, uphill in classes.items():
            length = ball(uphill, rho * float(self.scales[label]))
            total = weighted_sum(total, sweeps.perturbed(uphill, length, sweeps.only(label)))
        return total

    @classmethod
    def passes(cls, num_classes: int) -> float:
        """K backward passes over the first forward pass, and K more steps; K classes in the batch."""
        return 1 / 3 + 5 / 3 * num_classes


VARIANTS: dict[str, type[SharpnessRule]] = {
    "sam": PlainRule,
    "direction": DirectionRule,
    "scaled": ScaledRule,
    "per_class": PerClassRule,
    "imbsam": ImbSAM,
    "cc_sam": CCSAM,
    "focal_sam": FocalSAM,
    "conflict_sam": ConflictSAM,
}


def AsymmetricSAM(  # noqa: N802 - it stands for the optimiser that it makes
    model: nn.Module,
    base_optimizer: Optimizer,
    class_counts: Sequence[int] | None,
    *,
    rho: float | None = None,
    variant: str = "direction",
    options: Mapping[str, Any] | None = None,
    max_norm: float | None = None,
    scaler: GradScaler | None = None,
) -> SAM:
    """A ``SAM`` whose rule is chosen by name; with ``rho = 0`` the base optimiser.

    ``"direction"``, ``"scaled"`` and ``"per_class"`` are readings of asymmetric SAM, where the ascent leans
    to rare classes; ``"imbsam"``, ``"cc_sam"`` and ``"focal_sam"`` are ``ImbSAM``, ``CCSAM`` and
    ``FocalSAM``. All but ``"sam"`` tell classes apart and need class indices as target.

    Args:
        model: as for ``SAM``.
        base_optimizer: as for ``SAM``.
        class_counts: training examples of each class [K], each at least 1; None will do for ``"sam"``.
        rho: radius, at least 0; None is the variant's published one.
        variant: ``"sam"``, ``"direction"``, ``"scaled"``, ``"per_class"``, ``"imbsam"``, ``"cc_sam"``,
            ``"focal_sam"`` or ``"conflict_sam"``.
        options: of the variant: ``weights`` for direction, ``scales`` for scaled and per_class, ``eta``;
            ``classifier`` and ``share``; ``lam`` and ``gamma``; ``floor``, ``after``, ``every`` and ``by``.
            ``classifier`` is ``model.head`` by default.
        max_norm: as for ``SAM``.
        scaler: as for ``SAM``.

    Raises:
        InputError: the variant or an option is unknown (the nearest one is given), or a value does not fit.

    Source: "Simplifying Neural Network Training Under Class Imbalance" (arXiv 2312.02517) for the asymmetric
    variants, whose formula was not seen: direction is what the authors' code does, the others are assumed.

    Example:
        >>> import torch
        >>> net = nn.Linear(2, 2)
        >>> base = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> AsymmetricSAM(net, base, [90, 10], variant="scaled").rule.scales.tolist()
        [1.0, 9.0]
    """
    made = VARIANTS[one_of("variant", variant, VARIANTS)]
    known = inspect.signature(made).parameters
    given = dict(options or {})
    for name in given:
        if name not in known or name == "class_counts":
            others = [o for o in known if o != "class_counts"]
            hint = nearest(name, others) if others else "it takes none"
            raise InputError(f"options of {variant} must be known, got {name!r}; {hint}")
    if "class_counts" in known:
        given["class_counts"] = _needed(class_counts, variant)
    if "classifier" in known:
        given.setdefault("classifier", getattr(model, "head", None))
    rule = made(**given)
    radius = made.published_rho if rho is None else rho
    return SAM(model, base_optimizer, radius, rule=rule, max_norm=max_norm, scaler=scaler)


def passes(variant: str, num_classes: int) -> float:
    """Cost of one step in ordinary steps: a forward pass counts as a third of one, a backward as two.

    Args:
        variant: as for ``AsymmetricSAM``.
        num_classes: classes in a batch.

    Raises:
        InputError: the variant is unknown.

    Example:
        >>> [round(passes(variant, 10), 1) for variant in ("direction", "scaled", "per_class")]
        [2.0, 2.7, 17.0]
    """
    return VARIANTS[one_of("variant", variant, VARIANTS)].passes(num_classes)


def _needed(class_counts: Sequence[int] | None, variant: str) -> Sequence[int]:
    if class_counts is None:
        raise InputError(
            f"class_counts must hold one count a class for variant={variant!r}, got None; count the training "
            "labels"
        )
    return class_counts
