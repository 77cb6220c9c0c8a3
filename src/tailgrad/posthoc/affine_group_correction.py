"""Affine correction of the tail classes' logits."""

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from tailgrad.checks import InputError, in_range, positive_counts
from tailgrad.posthoc.held_out import example_shares, held_out
from tailgrad.posthoc.logits import Logits, Values, transformed
from tailgrad.posthoc.state import require_fit, take_shapes_when_loading
from tailgrad.types import Correction

_BOUNDS = ((0.01, 100.0), (-50.0, 50.0))


class AffineGroupCorrection(nn.Module):
    """``a z_k + b`` for the tail classes, ``z_k`` for the others.

    Args:
        class_counts: training examples of each class, each at least 1.
        tail: the share of the classes, in (0, 1), that counts as tail, rarest first (rounded, at least one
            and not all; of equal counts the later class), or their indices.

    Raises:
        InputError: an argument does not fit, the held-out data hold no tail class or nothing else, logits of
            another number of classes arrive, or ``transform`` comes before ``fit``.

    a and b minimise the held-out negative log-likelihood, every class counting the same. The likelihood is
    concave in both; a stays within [.01, 100] and the shift at the usual largest logit within [-50, 50],
    which matters only where the groups part without an error.

    Source: "bias correction" (BiC), Wu et al., arXiv 1905.13260, with tail classes in the place of new ones
    (general knowledge of the method; class-balanced weights in the place of a balanced validation set).

    Example:
        >>> logits, target = torch.tensor([[1.0, 0.0]] * 4 + [[0.0, 1.0]]), torch.tensor([0, 0, 0, 1, 1])
        >>> method = AffineGroupCorrection([9, 1]).fit(logits, target)
        >>> method.transform(logits).softmax(1)[0]
        tensor([0.6667, 0.3333])
    """

    transductive: ClassVar[bool] = False
    tail: Tensor
    scale: Tensor
    offset: Tensor
    shift: Tensor

    def __init__(
        self, class_counts: Sequence[int] | None = None, *, tail: float | Sequence[int] = 1 / 3
    ) -> None:
        super().__init__()
        if class_counts is None:
            raise InputError("class_counts must be given, got None; pass the training counts")
        self.register_buffer("tail", _tail_mask(positive_counts(class_counts), tail))
        for name in ("scale", "offset", "shift"):
            self.register_buffer(name, torch.empty(0))
        take_shapes_when_loading(self)

    @torch.no_grad()
    def fit(self, logits: Values, target: Values) -> Self:
        """Find a and b on held-out logits [N, K] and class indices [N]."""
        rows, classes = held_out(logits, target, len(self.tail))
        tail = self.tail.cpu()
        in_tail = tail[classes]
        if in_tail.all() or not in_tail.any():
            raise InputError(
                f"held-out data must hold tail classes and others, got {int(in_tail.sum())} of {len(rows)} "
                f"examples in a tail class; hold out more, or set tail"
            )
        # Around the level at which decisions fall, scale and shift are nearly independent.
        level = float(rows.max(1).values.double().mean())
        scale, shift = _fitted(rows - level, classes, tail)
        found = {"scale": scale, "shift": shift, "offset": shift + (1 - scale) * level}
        for name, value in found.items():
            setattr(self, name, getattr(self, name).new_tensor(value))
        return self

    def transform(self, logits: Logits) -> Logits:
        """Corrected logits [N, K], a tensor or an array as given."""
        return transformed(self, logits, len(self.tail))

    def forward(self, logits: Tensor) -> Tensor:
        """Corrected logits of a tensor [N, K]."""
        require_fit(self, self.scale)
        return torch.where(
            self.tail.to(logits.device), self.scale.to(logits) * logits + self.offset.to(logits), logits
        )

    def correction(self) -> Correction:
        """What tail logits at the mean of the held-out largest logits gain, as a shift; listed before fit."""
        if not self.scale.numel():
            return Correction("listed", (0.0,) * len(self.tail))
        return Correction("test_shift", tuple((-self.shift * self.tail).tolist()))


def _tail_mask(counts: tuple[int, ...], tail: float | Sequence[int]) -> Tensor:
    k = len(counts)
    if isinstance(tail, (int, float)):
        size = min(max(1, round(in_range("tail", tail, 0, 1, exclusive=True) * k)), k - 1)
        members = sorted(range(k), key=lambda c: -counts[c])[k - size :]
    else:
        members = [int(in_range("tail", c, 0, k - 1)) for c in tail]
    mask = torch.zeros(k, dtype=torch.bool)
    mask[members] = True
    if mask.all() or not mask.any():
        raise InputError(
            f"tail must hold some classes of {k} but not all, got {tail}; leave others to compare with"
        )
    return mask


def _fitted(rows: Tensor, target: Tensor, tail: Tensor) -> tuple[float, float]:
    # a and b that minimise the balanced NLL with tail logits a z + b.
    shares = example_shares(target, balanced=True).double()
    head, tails = rows[:, ~tail].logsumexp(1), rows[:, tail]
    in_tail = tail[target].double()
    true = in_tail * rows.gather(1, target[:, None]).squeeze(1).double()

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        a, b = parameters.tolist()
        changed = a * tails + b
        total = torch.logaddexp(head, changed.logsumexp(1))
        p = (changed - total[:, None]).exp()
        value = shares @ (total.double() - a * true - b * in_tail)
        by_scale = shares @ ((p * tails).sum(1).double() - true)
        by_shift = shares @ (p.sum(1).double() - in_tail)
        return float(value), np.array([float(by_scale), float(by_shift)])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=_BOUNDS, tol=1e-12)
    return float(found.x[0]), float(found.x[1])
