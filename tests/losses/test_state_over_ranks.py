"""State over ranks, with threads for ranks; ``sum_over_ranks`` itself is tested with processes elsewhere."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import Tensor

from tailgrad.losses import GALALoss, GroupDROLoss, gala, group_dro

COUNTS = [4, 2, 1]
LOGITS = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([[0, 0, 1, 0, 2, 1, 0], [1, 0, 0, 0, 2, 2, 0]])


def _states(part: slice) -> list[Tensor]:
    first, second = GALALoss(COUNTS, margin="printed", lambda1=1.2), GroupDROLoss(COUNTS, eta_q=0.5)
    for logits, target in zip(LOGITS[:, part], TARGET[:, part], strict=True):
        for loss in (first, second):
            loss(logits, target)
            with torch.no_grad():
                loss(logits, target)
    return [first.theta, second.q]


def test_two_ranks_keep_the_state_of_one_with_both_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, barrier, given = _states(slice(0, 7)), Barrier(2, timeout=30), []

    def summed(values: Tensor) -> Tensor:
        given.append(values)
        barrier.wait()
        total = torch.stack(given[-2:]).sum(0)
        barrier.wait()
        return total

    for module in (gala, group_dro):
        monkeypatch.setattr(module, "sum_over_ranks", summed)
    with ThreadPoolExecutor(2) as ranks:
        # Batches of unequal size: only sums and sizes together give the mean.
        found = list(ranks.map(_states, [slice(0, 2), slice(2, 7)]))
    for one, other, both in zip(*found, alone, strict=True):
        assert torch.equal(one, other)
        assert one.tolist() == pytest.approx(both.tolist(), rel=1e-5)
