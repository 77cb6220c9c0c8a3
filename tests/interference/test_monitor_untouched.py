"""Training with a monitor is bit for bit training without it, and nothing stays with the model."""

import gc
import random
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tailgrad.interference.monitor import Monitor


class Convolutional(nn.Module):
    """BatchNorm, dropout, in-place activations and a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.3))
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        residual = self.block(x)
        residual += x
        return self.head(F.relu_(residual).mean((2, 3)))


class Transformer(nn.Module):
    """Patches, a class token, positions, attention with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(2, 8, 3, 3), nn.Parameter(torch.zeros(1, 1, 8))
        self.position = nn.Parameter(torch.randn(1, 10, 8) * 0.1)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2, batch_first=True)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.position
        return self.head(self.norm(self.block(tokens))[:, 0])


class Recurrent(nn.Module):
    """Words, two LSTM layers with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.rnn = nn.Embedding(11, 6), nn.LSTM(6, 7, 2, dropout=0.3, batch_first=True)
        self.head = nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.dropout(self.rnn(self.words(x))[0][:, -1], 0.2, self.training))


class Checkpointed(Convolutional):
    """Its block is run again during the backward pass; an LSTM asks for masked passes through it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTM(9, 9, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.flatten(1, 2))[0].view_as(x)
        x = self.stem(x)
        return self.head(checkpoint(self.block, x, use_reentrant=False).mean((2, 3)))


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2),
}


def _batch(kind: type[nn.Module]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    y = torch.tensor([0] * 12 + [1] * 8 + [3] * 4)[torch.randperm(24, generator=generator)]
    if kind is Recurrent:
        return torch.randint(11, (24, 5), generator=generator), y
    return torch.randn(24, 2, 9, 9, generator=generator), y


def _trained(kind: type[nn.Module], optimizer: str, every: int | None) -> tuple[list[Tensor], Monitor | None]:
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    model, (x, y) = kind(), _batch(kind)
    stepper = OPTIMIZERS[optimizer](model.parameters())
    monitor = None if every is None else Monitor(model, 4, every=every)
    for _ in range(5):
        if monitor:
            monitor.begin(y)
        loss = F.cross_entropy(model(x), y)
        stepper.zero_grad()
        loss.backward()
        if monitor:
            monitor.backward_done()
        stepper.step()
        if monitor:
            monitor.step_done()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    drawn = torch.tensor([random.random(), np.random.rand()])  # noqa: NPY002
    return [*model.state_dict().values(), *gradients, torch.get_rng_state(), drawn], monitor


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", [Convolutional, Transformer, Recurrent, Checkpointed])
def test_weights_buffers_gradients_and_random_states_are_identical(
    kind: type[nn.Module], optimizer: str
) -> None:
    plain, _ = _trained(kind, optimizer, None)
    watched, monitor = _trained(kind, optimizer, 2)
    assert monitor is not None
    assert [record["step"] for record in monitor.records] == [1, 3, 5]
    assert monitor.records[0]["unknown"] == []
    assert len(plain) == len(watched)
    assert all(map(torch.equal, plain, watched))


def _is_clean(model: nn.Module) -> bool:
    hooks = [m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules()]
    leaves = [p._backward_hooks for p in model.parameters()]
    return not any([*hooks, *leaves, *(name in vars(model) for name in ("forward", "outputs"))])


def _has_mode() -> bool:
    return torch.overrides._get_current_function_mode() is not None


def test_a_step_that_is_not_due_touches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, y) = Convolutional(), _batch(Convolutional)
    monitor = Monitor(model, 4, every=3)
    with monitor.watch(y):
        F.cross_entropy(model(x), y).backward()
    before = dict(vars(model))
    for _ in range(2):
        monitor.begin(torch.zeros(0))  # not even looked at
        assert dict(vars(model)) == before
        assert _is_clean(model)
        monitor.step_done()
    monitor.begin(y)
    assert "forward" in vars(model)
    monitor.cancel()
    assert _is_clean(model)


def test_only_the_forward_pass_runs_under_the_listener() -> None:
    model, (x, y) = Convolutional(), _batch(Convolutional)
    inside: list[bool] = []
    model.block.register_forward_hook(lambda *_: inside.append(_has_mode()))
    monitor = Monitor(model, 4, every=1)
    monitor.begin(y)
    assert not _has_mode()
    loss = F.cross_entropy(model(x), y)
    assert inside[-1]
    assert not _has_mode()
    assert "forward" not in vars(model)
    loss.backward()
    monitor.backward_done()
    assert len(model._forward_hooks) == 0
    assert all(not p._backward_hooks for p in model.parameters())


class _Failing(Convolutional):
    """Fails on demand, in its forward or its backward pass."""

    where = ""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        if self.where == "forward" and self.training:
            raise MemoryError("no room")
        if self.where == "interrupt" and self.training:
            raise KeyboardInterrupt
        if self.where == "backward":
            out = out * 1.0
            out.register_hook(_raise)
        return out


def _raise(_: Tensor) -> None:
    raise MemoryError("no room")


@pytest.mark.parametrize("where", ["forward", "backward", "interrupt"])
def test_an_exception_leaves_nothing_behind(where: str) -> None:
    torch.manual_seed(0)
    model, (x, y) = _Failing(), _batch(Convolutional)
    monitor = Monitor(model, 4, every=1)
    with monitor.watch(y):
        F.cross_entropy(model(x), y).backward()
    model.where = where
    with pytest.raises((MemoryError, KeyboardInterrupt)), monitor.watch(y):
        F.cross_entropy(model(x), y).backward()
    assert _is_clean(model)
    assert not _has_mode()
    model.where = ""
    with monitor.watch(y):
        F.cross_entropy(model(x), y).backward()
    assert [record["step"] for record in monitor.records] == [1, 2]


def test_without_a_context_a_failed_forward_pass_leaves_no_mode_and_no_stand_in() -> None:
    model, (x, y) = _Failing(), _batch(Convolutional)
    model.where = "forward"
    monitor = Monitor(model, 4, every=1)
    monitor.begin(y)
    with pytest.raises(MemoryError):
        model(x)
    assert not _has_mode()
    assert "forward" not in vars(model)
    monitor.step_done()  # the batch was given up
    assert (monitor.records, monitor.skipped) == ([], 1)
    assert _is_clean(model)


class _Token:
    """Lives as long as the graph that holds it."""


def _ignore(token: _Token, gradient: Tensor) -> None:
    assert token is not gradient


@pytest.mark.parametrize("kind", [Convolutional, Transformer])
def test_graphs_are_released_without_the_garbage_collector(kind: type[nn.Module]) -> None:
    model, (x, y) = kind(), _batch(kind)
    monitor = Monitor(model, 4, every=1)
    gc.collect()
    gc.disable()
    try:
        with monitor.watch(y):
            token = _Token()
            start = x.clone().requires_grad_() * 1.0
            start.register_hook(partial(_ignore, token))
            F.cross_entropy(model(start), y).backward()
        held = weakref.ref(token)
        del start, token
        assert held() is None
    finally:
        gc.enable()
