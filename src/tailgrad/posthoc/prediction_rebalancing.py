"""Prediction re-balancing: divide each class's probabilities by how much of them there is."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError, in_range, one_of, positive_counts
from tailgrad.posthoc.criteria import CRITERIA
from tailgrad.posthoc.held_out import class_means, held_out
from tailgrad.posthoc.logits import Logits, Values, transformed
from tailgrad.posthoc.state import known_classes, require_fit, take_shapes_when_loading
from tailgrad.posthoc.strength import tau_buffer, tuned_tau
from tailgrad.types import Correction

_FLOOR = 1e-12


class PredictionRebalancing(nn.Module):
    """``log P - tau log c`` with ``P = softmax(z)`` and the mean probability c_j that class j receives.

    Args:
        class_counts: training examples of each class, each at least 1; needed by ``fit`` where a class is
            absent from the held-out data.
        tau: strength, at least 0 (0 is plain softmax), or ``"tuned"``: the best of 0 to 3 in steps of .05
            on the data given to ``fit``.
        mode: ``"inductive"``: c is measured by ``fit`` and frozen. ``"transductive"``: c is the column mean
            of the very rows given to ``transform``, as in the released code. ``"streaming"``: c is the mean
            over all rows up to and including those of this call, starting from the held-out mean where
            ``fit`` was called.
        averaging: over held-out rows, ``"class"``: ``c_j = mean_k mean_{i in k} P_ij``; ``"plain"``:
            ``c_j = mean_i P_ij``.
        criterion: what tuning maximises, ``"balanced_accuracy"`` or ``"macro_f1"``.
        momentum: streaming, None: all rows count the same; m in [0, 1]: ``c <- m c + (1 - m) mean_i P_ij``
            at each call. Rows that hold NaN are not counted.

    Raises:
        InputError: an argument does not fit, logits of another number of classes arrive, inductive
            ``transform`` comes before ``fit``, or a class is neither held out nor counted.

    ``transductive`` is True where a prediction depends on the other rows given: such a rule takes the
    evaluation set to be uniform over classes, pulls an imbalanced one towards uniform, and is a tie for one
    row at tau 1. A class absent from the held-out data takes ``c_j = n_j / N``. c is never below 1e-12.

    Source: arXiv 2403.09036 and its released code (transductive; its second softmax, which leaves the arg-max
    alone, is left out); inductive and streaming are ours.

    Example:
        >>> P = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.35, 0.05], [0.5, 0.1, 0.4], [0.55, 0.05, 0.4]])
        >>> PredictionRebalancing(mode="transductive").transform(P.log()).argmax(1)
        tensor([0, 1, 2, 2])
        >>> PredictionRebalancing().fit(P.log(), torch.tensor([0, 1, 2, 2])).prior
        tensor([0.6083, 0.2083, 0.1833])
    """

    prior: Tensor
    counted: Tensor
    rows: Tensor
    tau: Tensor

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        tau: float | str = 1.0,
        mode: str = "inductive",
        averaging: str = "class",
        criterion: str = "balanced_accuracy",
        momentum: float | None = None,
    ) -> None:
        super().__init__()
        counts = torch.tensor([] if class_counts is None else positive_counts(class_counts))
        self.mode = one_of("mode", mode, ("inductive", "transductive", "streaming"))
        self.averaging = one_of("averaging", averaging, ("class", "plain"))
        self.criterion = one_of("criterion", criterion, CRITERIA)
        self.momentum = None if momentum is None else in_range("momentum", momentum, 0, 1)
        self.transductive = mode != "inductive"
        self.tuned = tau == "tuned"
        self.register_buffer("tau", tau_buffer(tau))
        self.register_buffer("counted", counts / counts.sum())
        self.register_buffer("prior", torch.empty(0))
        self.register_buffer("rows", torch.tensor(0))
        take_shapes_when_loading(self)

    @property
    def num_classes(self) -> int | None:
        """K, or None before counts or data have shown it."""
        return known_classes(self.prior, self.counted)

    @torch.no_grad()
    def fit(self, logits: Values, target: Values) -> Self:
        """Measure c, and tune tau where asked, on held-out logits [N, K] and class indices [N]."""
        rows, classes = held_out(logits, target, known_classes(self.counted))
        prior = self._measured(rows.softmax(1), classes).clamp_min(_FLOOR)
        if self.tuned:
            tau = tuned_tau(rows.log_softmax(1), prior.log(), classes, self.criterion)
            self.tau = self.tau.new_tensor(tau)
        if self.mode != "transductive":
            self.prior = prior.to(self.prior)
            self.rows = self.rows.new_tensor(len(rows))
        return self

    def transform(self, logits: Logits) -> Logits:
        """Re-balanced logits [N, K], a tensor or an array as given; streaming adds their rows first."""
        return transformed(self, logits, self.num_classes)

    def forward(self, logits: Tensor) -> Tensor:
        """Re-balanced logits of a tensor [N, K]."""
        require_fit(self, self.tau)
        log_shares = logits.log_softmax(1)
        if self.mode == "streaming":
            self._add(log_shares)
        prior = log_shares.exp().mean(0) if self.mode == "transductive" else self.prior
        require_fit(self, prior)
        return log_shares - (self.tau.to(prior) * prior.clamp_min(_FLOOR).log()).to(logits)

    def correction(self) -> Correction:
        """The shift ``tau log c`` of the measured c; listed without a number where none is measured."""
        if not (self.prior.numel() and self.tau.numel()):
            return Correction("listed", (0.0,) * (self.num_classes or 0))
        return Correction("test_shift", tuple((self.tau * self.prior.log()).tolist()))

    def _measured(self, shares: Tensor, target: Tensor) -> Tensor:
        if self.mode == "transductive" or self.averaging == "plain":
            return shares.mean(0)
        k = shares.shape[1]
        seen = target.bincount(minlength=k) > 0
        prior = class_means(shares, target, k)[seen].mean(0)
        if seen.all():
            return prior
        if not self.counted.numel():
            raise InputError(
                f"held-out data must hold every class, got none of class {int((~seen).nonzero()[0])}; "
                "pass class_counts, which stand in for absent classes, or set averaging='plain'"
            )
        return torch.where(seen, prior, self.counted.to(prior))

    @torch.no_grad()
    def _add(self, log_shares: Tensor) -> None:
        # NaN would stay in c, and with it in all that comes after.
        log_shares = log_shares[~log_shares.isnan().any(1)]
        if not len(log_shares):
            return
        mean = log_shares.exp().mean(0).to(self.prior)
        total = self.rows + len(log_shares)
        kept = self.rows / total if self.momentum is None else self.momentum
        self.prior = kept * self.prior + (1 - kept) * mean if self.prior.numel() else mean
        self.prior = self.prior.clamp_min(_FLOOR)
        self.rows = total
