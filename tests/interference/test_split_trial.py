"""Networks that would pass a careless trial of the split backward pass."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tailgrad.interference import Update, class_gradients, measure


class Sorted(nn.Module):
    """Runs the batch sorted and puts it back, as code for sequences of unequal length does."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        order = x[:, 0].argsort(stable=True)
        return self.b(torch.tanh(self.a(x[order]))[order.argsort()])


class Gated(nn.Module):
    """A branch that is on for some classes only, flattened with time before examples."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.side, self.fc = nn.Linear(12, 8), nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        n = len(x)
        steps = x.view(n, 3, 4).transpose(0, 1).reshape(3 * n, 4)
        side = torch.tanh(self.side(steps)).view(3, n, 8).mean(0)
        return self.fc(torch.tanh(self.main(x)) + (x[:, :1] > 0) * side)


class Centred(nn.Module):
    """Subtracts the mean of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        return self.b(torch.tanh(h - h.mean(0)))


def _alone(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Class gradients from passes over one example."""
    found = {name: torch.zeros(4, p.numel(), dtype=p.dtype) for name, p in model.named_parameters()}
    for image, label in zip(x, y.tolist(), strict=True):
        loss = F.cross_entropy(model(image[None]), torch.tensor([label]))
        for name, g in zip(found, torch.autograd.grad(loss, list(model.parameters())), strict=True):
            found[name][label] += g.flatten() / (y == label).sum()
    return found


@pytest.mark.parametrize("folds", [0, 2])
@pytest.mark.parametrize("kind", [Sorted, Gated])
def test_what_no_first_examples_show_is_found(kind: type[nn.Module], folds: int) -> None:
    torch.manual_seed(0)
    model = kind().double()
    width = 12 if kind is Gated else 8
    y = torch.tensor([0] * 20 + [1] * 20 + [2] * 9 + [3] * 5)
    x = torch.randn(len(y), width, dtype=torch.float64)
    x[:, 0] = torch.where(y < 2, -x[:, 0].abs(), x[:, 0].abs()) if kind is Gated else 9.0 * (y == 0)
    found = class_gradients(model, [(x, y)], parameters="all", folds=folds)
    for name, rows in _alone(model, x, y).items():
        torch.testing.assert_close(found.rows[name], rows, rtol=1e-10, atol=1e-13)


def test_a_class_seen_late_is_tried_too() -> None:
    torch.manual_seed(0)
    model = Gated().double()
    y = torch.arange(4).repeat_interleave(torch.tensor([3000, 3000, 60, 40]))
    x = torch.randn(len(y), 12, dtype=torch.float64)
    x[:, 0] = torch.where(y < 2, -x[:, 0].abs(), x[:, 0].abs())
    found = class_gradients(model, [(x, y)], parameters="side.*", folds=8)
    for name, rows in _alone(model, x[-100:], y[-100:]).items():
        if name.startswith("side"):
            torch.testing.assert_close(found.rows[name][2:], rows[2:], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("count", [300, 20])
def test_networks_that_couple_examples_are_named(count: int) -> None:
    torch.manual_seed(0)
    y = torch.arange(4).repeat_interleave(count)
    found = class_gradients(Centred(), [(torch.randn(len(y), 8), y)], parameters="all")
    assert any("treats examples together" in note for note in found.notes)
    plain = class_gradients(Sorted(), [(torch.randn(len(y), 8), y)], parameters="all")
    assert not any("treats examples together" in note for note in plain.notes)


def test_measured_change_does_not_hang_on_the_order_of_the_data() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 4)).double()
    data = TensorDataset(torch.randn(160, 6, dtype=torch.float64), torch.arange(160) % 4)
    loader = DataLoader(data, 16, shuffle=True)
    nothing = Update({name: torch.zeros_like(p) for name, p in model.named_parameters()})
    effect = measure(model, loader, update=nothing, max_per_class=5).effect
    assert effect is not None
    assert not effect.measured_change.any()
