"""Post-hoc logit adjustment."""

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError, one_of, positive_counts
from tailgrad.posthoc.criteria import CRITERIA
from tailgrad.posthoc.held_out import held_out
from tailgrad.posthoc.logits import Logits, Values, transformed
from tailgrad.posthoc.state import require_fit, take_shapes_when_loading
from tailgrad.posthoc.strength import tau_buffer, tuned_tau
from tailgrad.types import Correction


class LogitAdjustment(nn.Module):
    """``z - tau log pi`` with the training prior ``pi_k = n_k / N``.

    Args:
        class_counts: training examples of each class, each at least 1.
        tau: strength, at least 0 (0 changes nothing), or ``"tuned"``: the best of 0 to 3 in steps of .05 on
            the data given to ``fit``, of equal ones the least.
        criterion: what tuning maximises, ``"balanced_accuracy"`` or ``"macro_f1"``.

    Raises:
        InputError: an argument does not fit, or logits of another number of classes arrive.

    For a model trained without correction. One trained with logit adjustment, balanced softmax, class
    weights or balanced sampling has its prior corrected already (see ``tailgrad.ledger``). With a number for
    tau nothing needs fitting.

    Source: Menon et al., arXiv 2007.07314, eq 9 (general knowledge of the method).

    Example:
        >>> method = LogitAdjustment([100, 10, 1])
        >>> method.transform(torch.tensor([[2.0, 1.0, 0.0]]))
        tensor([[2.1044, 3.4069, 4.7095]])
    """

    transductive: ClassVar[bool] = False
    log_prior: Tensor
    tau: Tensor

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        tau: float | str = 1.0,
        criterion: str = "balanced_accuracy",
    ) -> None:
        super().__init__()
        if class_counts is None:
            raise InputError("class_counts must be given, got None; pass the training counts")
        counts = torch.tensor(positive_counts(class_counts), dtype=torch.float64)
        self.tuned = tau == "tuned"
        self.criterion = one_of("criterion", criterion, CRITERIA)
        self.register_buffer("log_prior", (counts / counts.sum()).log().float())
        self.register_buffer("tau", tau_buffer(tau))
        take_shapes_when_loading(self)

    @torch.no_grad()
    def fit(self, logits: Values, target: Values) -> Self:
        """Tune tau on held-out logits [N, K] and class indices [N]; with a number, only check them."""
        rows, classes = held_out(logits, target, len(self.log_prior))
        if self.tuned:
            tau = tuned_tau(rows, self.log_prior.cpu(), classes, self.criterion)
            self.tau = self.log_prior.new_tensor(tau)
        return self

    def transform(self, logits: Logits) -> Logits:
        """Adjusted logits [N, K], a tensor or an array as given."""
        return transformed(self, logits, len(self.log_prior))

    def forward(self, logits: Tensor) -> Tensor:
        """Adjusted logits of a tensor [N, K]."""
        require_fit(self, self.tau)
        return logits - (self.tau * self.log_prior).to(logits)

    def correction(self) -> Correction:
        """The shift ``tau log pi``; listed without a number while tau waits to be tuned."""
        if not self.tau.numel():
            return Correction("listed", (0.0,) * len(self.log_prior))
        return Correction("test_shift", tuple((self.tau * self.log_prior).tolist()))
