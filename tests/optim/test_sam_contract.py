"""What every variant of sharpness-aware minimisation owes, with every loss that it can train."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from tailgrad.optim import AsymmetricSAM
from tailgrad.optim.asymmetric_sam import VARIANTS
from tailgrad.recipes.components import components

COUNTS = [50, 20, 5]
Y = torch.tensor([0, 1, 2, 0, 0, 1, 0, 2])
X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
LOSSES: dict[str, Any] = {
    name: item
    for name, item in components("losses").items()
    if item.takes == "logits" and not item.set_level and not getattr(item, "multi_label", False)
}


class Net(nn.Module):
    """BatchNorm and dropout, whose passes are not to count twice; logits are cosines, which LDAM asks for."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)).tanh()


def _sam(net: nn.Module, variant: str, rho: float | None = None) -> Any:
    return AsymmetricSAM(net, SGD(net.parameters(), lr=0.1, momentum=0.9), COUNTS, rho=rho, variant=variant)


def _step(optimizer: Any, net: nn.Module, loss: nn.Module, seed: int) -> Tensor:
    torch.manual_seed(seed)
    return optimizer.step(lambda: (loss(net(X), Y), Y))


def _all(module: nn.Module) -> Tensor:
    return torch.cat([value.flatten().double() for value in module.state_dict().values()])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("variant", ["sam", "scaled", "per_class"])
def test_a_step_moves_the_state_of_a_loss_as_a_plain_pass_does(name: str, variant: str) -> None:
    loss = LOSSES[name](COUNTS, reduction="none")
    net = Net()
    optimizer = _sam(net, variant)
    for seed in range(2):
        plain, plain_net = copy.deepcopy(loss), copy.deepcopy(net)
        torch.manual_seed(seed)
        value = plain(plain_net(X), Y).mean()
        assert torch.equal(_step(optimizer, net, loss, seed), value)
        for key, buffer in loss.state_dict().items():
            assert torch.equal(buffer, plain.state_dict()[key]), key
        for key, buffer in net.named_buffers():
            assert torch.equal(buffer, dict(plain_net.named_buffers())[key]), key


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rho", [None, 0.0])
def test_a_stored_optimiser_goes_on_as_if_never_stopped(variant: str, rho: float | None) -> None:
    loss = nn.CrossEntropyLoss(reduction="none")
    net, restored = Net(), Net()
    first = _sam(net, variant, rho)
    for seed in range(3):
        _step(first, net, loss, seed)
    restored.load_state_dict(net.state_dict())
    second = _sam(restored, variant, rho)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for seed in (8, 9):
        assert torch.equal(_step(first, net, loss, seed), _step(second, restored, loss, seed))
    assert torch.equal(_all(net), _all(restored))
