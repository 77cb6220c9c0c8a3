"""What a run does between epochs: after they are told of, before they are saved, and not again on resume."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.engine import Fitted, Learner, LossWatch, Plan, fit, supervised_step
from tailgrad.engine.checkpoint import load_weights
from tailgrad.types import StepRecord


class _Notes:
    def __init__(self, said: list[str]) -> None:
        self.said = said

    def on_step(self, record: StepRecord) -> None:
        """Nothing."""

    def on_epoch(self, row: dict[str, Any]) -> None:
        self.said.append(f"told {row['epoch']}")


def _learner() -> Learner:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    return Learner.plain(net, nn.CrossEntropyLoss(), lr=0.1)


def _fit(learner: Learner, keep: Path, epochs: int, said: list[str]) -> Fitted:
    images = torch.randint(256, (8, 3, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    loader = ResidentLoader(images, torch.arange(8) % 2, torch.arange(8), batch_size=4, seed=0)

    def between(epoch: int) -> None:
        said.append(f"between {epoch}")
        if epoch == 1:
            with torch.no_grad():
                learner.network[1].bias.add_(100.0)  # type: ignore[index, union-attr]  # of the net above

    return fit(
        learner,
        loader,
        lambda: {"val_macro_f1": 0.0},
        Plan(epochs=epochs, keep=keep),
        step=supervised_step,
        watch=LossWatch(str),
        observers=[_Notes(said)],
        between=between,
    )


def test_it_comes_after_the_observers_and_is_saved(tmp_path: Path) -> None:
    said: list[str] = []
    _fit(_learner(), tmp_path, 2, said)
    assert said == ["told 1", "between 1", "told 2", "between 2"]
    best, last = (load_weights(tmp_path / f"{name}.safetensors")[0] for name in ("weights", "last"))
    assert best["1.bias"].abs().max() < 50 < last["model.1.bias"].max()


@pytest.mark.parametrize("first", [1, 2])
def test_a_resumed_run_does_it_once(tmp_path: Path, first: int) -> None:
    whole, parts = _learner(), _learner()
    _fit(whole, tmp_path / "whole", 3, [])
    said: list[str] = []
    _fit(parts, tmp_path / "parts", first, said)
    parts = _learner()
    _fit(parts, tmp_path / "parts", 3, said)
    assert [text for text in said if text.startswith("between")] == ["between 1", "between 2", "between 3"]
    for a, b in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        assert torch.equal(a, b)
