"""Our combiners against TorchJD's aggregators, where it and its solvers are installed."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.optim import MGDA, CAGrad, ClassGradientOptimizer, PCGrad, UPGrad

aggregation = pytest.importorskip("torchjd.aggregation")


def _rows(m: int, p: int) -> Tensor:
    torch.manual_seed(m + p)
    rows = torch.randn(m, p, dtype=torch.float64) * (1 + 3 * torch.rand(m, 1, dtype=torch.float64))
    rows[-1] -= rows[0]
    return rows


shapes = pytest.mark.parametrize(("m", "p"), [(2, 5), (3, 2), (5, 20), (10, 4), (20, 50)])


@shapes
def test_upgrad(m: int, p: int) -> None:
    pytest.importorskip("qpsolvers")
    pytest.importorskip("quadprog")
    rows = _rows(m, p)
    torch.testing.assert_close(UPGrad()(rows), aggregation.UPGrad()(rows), rtol=1e-8, atol=1e-8)


@shapes
def test_cagrad(m: int, p: int) -> None:
    pytest.importorskip("cvxpy")
    pytest.importorskip("clarabel")
    rows = _rows(m, p)
    ours, theirs = CAGrad(scale="published")(rows), aggregation.CAGrad(c=0.5)(rows)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    assert (rows @ ours).min() >= (rows @ theirs).min() - 1e-6 * rows.square().sum()


@shapes
def test_mgda_is_at_least_as_short(m: int, p: int) -> None:
    rows = _rows(m, p)
    ours, theirs = MGDA()(rows), aggregation.MGDA(epsilon=1e-6, max_iters=500)(rows)
    assert ours.norm() <= theirs.norm() + 1e-9
    assert (ours - theirs).norm() <= 0.1 * rows.norm(dim=1).mean()


@pytest.mark.parametrize("p", [1, 2, 7])
def test_pcgrad_of_two_classes(p: int) -> None:
    rows = _rows(2, p)
    torch.testing.assert_close(PCGrad(scale="published")(rows), aggregation.PCGrad()(rows))


def test_pcgrad_on_average_over_orders() -> None:
    rows = _rows(4, 3)
    torch.manual_seed(0)
    ours, theirs = PCGrad(seed=1, scale="published"), aggregation.PCGrad()
    mean, other = (torch.stack([method(rows) for _ in range(600)]) for method in (ours, theirs))
    error = (mean.var(0) / 600 + other.var(0) / 600).sqrt()
    assert ((mean.mean(0) - other.mean(0)).abs() <= 4.5 * error + 1e-9).all()


@pytest.mark.parametrize("name", ["Mean", "MGDA", "PCGrad", "AlignedMTL", "IMTLG"])
def test_its_aggregators_fit_into_the_optimizer(name: str) -> None:
    net = nn.Linear(5, 3)
    x, y = torch.randn(9, 5, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 3
    base = torch.optim.SGD(net.parameters(), lr=0.1)
    optimizer = ClassGradientOptimizer(net, base, getattr(aggregation, name)())
    first, *_, last = (
        float(optimizer.step(lambda: (F.cross_entropy(net(x), y, reduction="none"), y))) for _ in range(30)
    )
    assert last < first
