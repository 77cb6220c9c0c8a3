"""CC-SAM: the classifier perturbed for each class by itself."""

import math
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from tailgrad.checks import InputError, in_range, positive_counts
from tailgrad.optim.gradient_lists import Gradients, joint_norm, weighted_sum
from tailgrad.optim.moved_classifier import classes_moved
from tailgrad.optim.sharpness_rule import TINY, SharpnessRule
from tailgrad.optim.sharpness_sweeps import Sweeps


class CCSAM(SharpnessRule):
    """``(1 - share) grad L(w) + share sum_c (n_c / N) grad L_c(w + eps_c)``, eps_c in the classifier only.

    ``eps_c = r_c g_c / |g_c|`` with g_c the gradient of class c's mean loss by the classifier's d parameters
    theta and ``r_c = rho sqrt(|theta| / |g_c|) / sqrt(2) (n_c - 1)^(-1/4) d^(1/4)``, n_c the training count.
    Since only the classifier moves, one further forward pass serves all classes: in it the classifier's
    rows for examples of class c are those it has at ``theta + eps_c``. That needs losses that depend on
    their own example's row only. A step holds one gradient of the classifier for each class of the batch.
    For use inside ``SAM``.

    Args:
        class_counts: training examples of each class, each at least 1; a class of one counts as two.
        classifier: the last module, returning one row an example to what the loss takes. With
            ``DotRegressionLoss``, which looks at the features before the class vectors, there is none.
        share: of the perturbed loss, 0 to 1.

    Raises:
        InputError: a count is not positive, ``classifier`` is no module with parameters (in a step: none of
            them is trained, it does not run, or its output has other rows), or ``share`` is outside its
            range.

    Source: Zhou et al., "Class-Conditional Sharpness-Aware Minimization for Deep Long-Tailed Recognition"
    (CVPR 2023), stage 1 as in the authors' code, whose CIFAR-10 configuration has rho 1e-6 (there ``nr``)
    and share 0.3. At that rho the perturbation is very small. Assumed: d counts the classifier's parameters,
    g_c is of a mean, the guard for a class of one. Not here: mixup, and stage 2 with noise on features.

    Example:
        >>> head = nn.Linear(8, 2)
        >>> round(CCSAM([5000, 50], head).radius(1, gradient=1.0, theta=4.0, size=16, rho=0.1), 4)
        0.1069
    """

    published_rho: ClassVar[float] = 1e-6

    def __init__(
        self, class_counts: Sequence[int], classifier: nn.Module | None, *, share: float = 0.3
    ) -> None:
        self._counts = positive_counts(class_counts)
        self.num_classes = len(self._counts)
        self.share = in_range("share", share, 0, 1)
        if not isinstance(classifier, nn.Module) or not any(True for _ in classifier.parameters()):
            raise InputError(
                f"classifier must be a module with parameters, got {classifier!r}; give the last layer, for "
                "example classifier=model.fc"
            )
        self.classifier = classifier

    def radius(self, label: int, *, gradient: float, theta: float, size: int, rho: float) -> float:
        """r_c from the lengths ``|g_c|`` and ``|theta|`` and the number d of the classifier's parameters."""
        rarity = size / max(self._counts[label] - 1, 1)
        return rho * math.sqrt(theta / (gradient + TINY) / 2) * math.sqrt(math.sqrt(rarity))

    def gradient(self, sweeps: Sweeps, rho: float) -> Gradients:
        """A share of the gradient with the classifier moved, the rest at the weights."""
        trained = {id(p) for p in sweeps.parameters}
        theta: dict[str, Tensor] = {
            name: p for name, p in self.classifier.named_parameters() if id(p) in trained
        }
        if not theta:
            raise InputError(
                f"classifier must have parameters that base_optimizer trains, got "
                f"{type(self.classifier).__name__} without; build both from the same model"
            )
        found = sweeps.at_weights(None, by_class=list(theta.values()))
        total = int(found.counts.sum())
        moves = {
            label: self._move(label, theta, part, total / float(found.counts[label]), rho)
            for label, part in found.classes.items()
        }
        with classes_moved(self.classifier, moves, lambda: sweeps.target):
            moved = sweeps.perturbed([None] * len(sweeps.parameters), 0.0)
        return weighted_sum(found.gradients[0], moved, (1 - self.share, self.share))

    def _move(
        self, label: int, theta: dict[str, Tensor], part: Gradients, to_mean: float, rho: float
    ) -> dict[str, Tensor]:
        """eps_c from class c's part of the batch's gradient, ``1 / to_mean`` of the gradient of its mean."""
        length = joint_norm(part)
        radius = self.radius(
            label,
            gradient=length * to_mean,
            theta=joint_norm([p.detach() for p in theta.values()]),
            size=sum(p.numel() for p in theta.values()),
            rho=rho,
        )
        factor = radius / (length + TINY)
        return {name: g * factor for name, g in zip(theta, part, strict=True) if g is not None}
