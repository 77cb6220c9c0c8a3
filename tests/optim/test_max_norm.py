"""MaxNorm: a classifier's rows inside a ball whose size was fixed at the start."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tailgrad.checks import InputError
from tailgrad.optim import SAM, MaxNorm


def _rows(norms: list[float], width: int = 3) -> torch.Tensor:
    rows = torch.randn(len(norms), width, generator=torch.Generator().manual_seed(0))
    return rows / rows.norm(dim=1, keepdim=True) * torch.tensor(norms)[:, None]


def test_the_worked_example() -> None:
    rows = _rows([5.0, 2.0, 1.0])
    ball = MaxNorm(rows)
    before = rows.clone()
    ball.project()
    torch.testing.assert_close(rows.norm(dim=1), torch.tensor([1.4, 1.4, 1.0]))
    torch.testing.assert_close(rows[0] / rows[0].norm(), before[0] / before[0].norm())
    assert torch.equal(rows[2], before[2])


@given(
    st.lists(st.just(0.0) | st.floats(1e-6, 50), min_size=1, max_size=6),
    st.just(0.0) | st.floats(1e-6, 1),  # thresholds below the normal numbers of float32 are coarse
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_projecting_twice_is_projecting_once_and_short_rows_stay(
    norms: list[float], share: float, dtype: torch.dtype
) -> None:
    rows = _rows(norms, width=8).to(dtype)
    ball, before = MaxNorm(rows, share=share), rows.clone()
    ball.project()
    once = rows.clone()
    ball.project()
    assert torch.equal(rows, once)
    length = before.double().norm(dim=1)
    inside = length < float(ball.theta) * (1 - 1e-6)
    assert torch.equal(rows[inside], before[inside])
    assert (rows.double().norm(dim=1) <= float(ball.theta) * (1 + 8 * torch.finfo(dtype).eps)).all()


def test_the_threshold_stays_and_travels_with_the_state() -> None:
    layer = nn.Linear(4, 3)
    ball = MaxNorm(layer)
    theta = ball.theta.clone()
    with torch.no_grad():
        layer.weight.mul_(10)
        layer.bias.fill_(100.0)
    assert set(ball.state_dict()) == {"theta"}
    assert not list(ball.parameters())
    other = copy.deepcopy(layer)
    resumed = MaxNorm(other)
    assert resumed.theta > 2 * theta
    resumed.load_state_dict(ball.state_dict())
    for held, module in ((ball, layer), (resumed, other)):
        held.project()
        assert float(module.weight.detach().norm(dim=1).max()) == pytest.approx(float(theta), rel=1e-5)
        assert torch.equal(module.bias, torch.full((3,), 100.0))


@pytest.mark.parametrize("sharp", [False, True])
def test_attached_it_follows_every_step(sharp: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 1)  # rows of any shape
    x, y = torch.randn(6, 2, 1, 1), torch.tensor([0, 1, 2, 0, 1, 2])
    base = torch.optim.SGD(layer.parameters(), lr=5.0)
    optimizer = SAM(layer, base) if sharp else base
    ball = MaxNorm(layer.weight)
    handle = ball.attach(optimizer)

    def step() -> float:
        losses = nn.functional.cross_entropy(layer(x).flatten(1), y, reduction="none")
        if sharp:
            optimizer.step(lambda: (nn.functional.cross_entropy(layer(x).flatten(1), y, reduction="none"), y))
        else:
            losses.mean().backward()
            optimizer.step()
        return float(layer.weight.detach().flatten(1).norm(dim=1).max())

    assert max(step() for _ in range(3)) <= float(ball.theta) * (1 + 1e-6)
    handle.remove()
    assert step() > float(ball.theta)


@pytest.mark.parametrize(
    ("weight", "options", "words"),
    [
        (nn.ReLU(), {}, "weight must hold one row a class .* got ReLU"),
        (nn.BatchNorm1d(4), {}, r"weight must hold one row a class .* got \[4\]"),
        (torch.ones(3), {}, r"got \[3\]"),
        (torch.ones(3, 2), {"share": 1.5}, r"share must be in \[0, 1\], got 1.5"),
    ],
)
def test_what_has_no_rows_is_refused(weight: Any, options: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        MaxNorm(weight, **options)
