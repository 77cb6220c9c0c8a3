"""A monitor that only writes down what it is told, and small data."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset


class Spy:
    """The monitor's interface; ``calls`` is what a framework told it, in order."""

    latest: "Spy"

    def __init__(
        self,
        model: nn.Module,
        classes: Sequence[str] | int,
        *,
        parameters: Any = "backbone",
        every: int = 20,
        seconds: float | None = None,
        log: Callable[[dict[str, Any]], None] | None = None,
        scaler: Any = None,
    ) -> None:
        self.model, self.classes, self.parameters = model, classes, parameters
        self.every, self.seconds, self.log, self.scaler = every, seconds, log, scaler
        self.calls: list[str] = []
        self.targets: list[Tensor] = []
        self.weights: list[Tensor] = []
        self.records: list[dict[str, Any]] = []
        self.has_heard = False
        Spy.latest = self

    def begin(self, target: Tensor, *, call: Any = None) -> None:
        self.calls.append("begin")
        self.call = call
        self.targets.append(target)

    def backward_done(self) -> None:
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in self.model.parameters())
        self.calls.append("backward")

    def step_done(self) -> None:
        self.calls.append("step")
        self.weights.append(torch.cat([p.detach().flatten() for p in self.model.parameters()]))
        self.records.append({"steps": len(self.weights), "norm": {"a": 0.5, "b": None}})
        if self.log:
            self.log(self.records[-1])

    def cancel(self) -> None:
        self.calls.append("cancel")

    def summary(self) -> str:
        return f"{len(self.records)} records"


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> type[Spy]:
    monkeypatch.setattr("tailgrad.integrations.lightning_callback.Monitor", Spy)
    if find_spec("transformers"):
        monkeypatch.setattr("tailgrad.integrations.hugging_face_callback.Monitor", Spy)
    return Spy


class Named(TensorDataset):
    classes = ("ape", "bee", "cat")


@pytest.fixture
def data() -> Named:
    """24 examples of 3 classes (15, 6 and 3)."""
    generator = torch.Generator().manual_seed(0)
    return Named(torch.randn(24, 5, generator=generator), torch.tensor([0] * 15 + [1] * 6 + [2] * 3))
