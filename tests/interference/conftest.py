"""Small networks whose class gradients brute force can check."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

K = 4


class TiedLayers(nn.Module):
    """One weight serves two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, K)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x).tanh()).tanh())


class Attention(nn.Module):
    """Token indices, an embedding, attention, LayerNorm and a parameter owned by the root."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.embedding = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.2, batch_first=True)
        self.head = nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.embedding(x) + self.token).mean(1))


def _convolutional() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(4, 5, 3, stride=2),
        nn.BatchNorm2d(5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(5, K),
    )
    for norm in (model[1], model[5]):
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.normal_(norm.running_mean)
        nn.init.normal_(norm.weight)
    return model


def _layer_norm() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, K)
    )


NETWORKS = {
    "convolutional": (_convolutional, (2, 9, 9)),
    "layer_norm": (_layer_norm, (6,)),
    "tied": (TiedLayers, (6,)),
    "attention": (Attention, (5,)),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, Tensor]:
    """A float64 network in training mode, 30 inputs and unbalanced labels of K = 4 classes."""
    build, shape = NETWORKS[request.param]
    torch.manual_seed(3)
    model = build().double().train()
    inputs = torch.randn(30, *shape, dtype=torch.float64)
    if request.param == "attention":
        inputs = torch.randint(11, (30, *shape))
    target = torch.tensor([0] * 15 + [1] * 8 + [2] * 6 + [3])[torch.randperm(30)]
    return model, inputs, target


@pytest.fixture
def brute_force() -> Callable[..., dict[str, Tensor]]:
    """Parameter name -> class gradients [K, numel], one example and one backward pass at a time."""

    def gradients(
        model: nn.Module, inputs: Tensor, target: Tensor, num_classes: int = K
    ) -> dict[str, Tensor]:
        was = model.training
        model.eval()
        names = dict(model.named_parameters())
        result = {name: torch.zeros(num_classes, p.numel(), dtype=p.dtype) for name, p in names.items()}
        for x, y in zip(inputs, target.tolist(), strict=True):
            loss = -F.log_softmax(model(x[None]), 1)[0, y]
            for name, g in zip(names, torch.autograd.grad(loss, list(names.values())), strict=True):
                result[name][y] += g.flatten() / (target == y).sum()
        model.train(was)
        return result

    return gradients


@pytest.fixture
def perceptron() -> nn.Module:
    """A float64 two-layer network on 6 features."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, K)).double()
