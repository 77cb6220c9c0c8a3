"""What combiners remember survives a checkpoint."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.engine import (
    Learner,
    LossWatch,
    Plan,
    combined_step,
    fit,
    load_last,
    load_weights,
    save_last,
)
from tailgrad.optim import ClassGradientOptimizer, Combiner, GradNorm, PCGrad

MAKERS = {
    "grad_norm": lambda: GradNorm(3, rate=0.5),
    "pcgrad": PCGrad,
    "pcgrad with a seed": lambda: PCGrad(seed=4),
}


def _learner(combiner: Combiner) -> Learner:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    learner = Learner.plain(net, nn.CrossEntropyLoss(reduction="none"), lr=0.1)
    optimizer = ClassGradientOptimizer(net, torch.optim.Adam(net.parameters(), lr=0.01), combiner)
    learner.optimizer = learner.fabric.setup_optimizers(optimizer)
    learner.prepare = lambda x: x.float() / 255
    return learner


def _fit(learner: Learner, folder: Path, epochs: int) -> Tensor:
    torch.manual_seed(2)
    images = torch.randint(256, (24, 3, 4, 4), dtype=torch.uint8)
    loader = ResidentLoader(images, torch.arange(24) % 3, torch.arange(24), batch_size=8, seed=5)
    plan = Plan(epochs=epochs, keep=folder, monitor="score")
    fit(learner, loader, lambda: {"score": 0.5}, plan, step=combined_step, watch=LossWatch(str))
    return torch.cat([p.detach().flatten() for p in learner.model.parameters()])


@pytest.mark.parametrize("name", MAKERS)
def test_the_loop_resumes_to_the_same_weights(tmp_path: Path, name: str) -> None:
    unbroken = _fit(_learner(MAKERS[name]()), tmp_path / "a", 4)
    _fit(_learner(MAKERS[name]()), tmp_path / "b", 2)
    assert torch.equal(_fit(_learner(MAKERS[name]()), tmp_path / "b", 4), unbroken)


def test_without_its_memory_the_result_would_differ(tmp_path: Path) -> None:
    unbroken = _fit(_learner(GradNorm(3, rate=0.5)), tmp_path / "a", 4)
    _fit(_learner(GradNorm(3, rate=0.5)), tmp_path / "b", 2)

    class Forgetful(GradNorm):
        def load_state_dict(self, state: dict[str, Tensor]) -> None: ...

    assert not torch.equal(_fit(_learner(Forgetful(3, rate=0.5)), tmp_path / "b", 4), unbroken)


def test_the_file_holds_the_memory_bit_for_bit(tmp_path: Path) -> None:
    combiner = GradNorm(3)
    learner = _learner(combiner)
    combiner.observe(torch.tensor([0, 2]), torch.tensor([0.7, 1.3]))
    combiner(torch.tensor([[1.0, 0.0], [-1.0, 3.0]]))
    path = save_last(tmp_path / "last.safetensors", learner, {"epoch": 1})
    stored = {name: value for name, value in load_weights(path)[0].items() if name.startswith("combiner.")}
    assert stored.keys() == {"combiner.v", "combiner.first"}
    again = GradNorm(3)
    load_last(path, _learner(again))
    for name, value in again.state_dict().items():
        torch.testing.assert_close(value, combiner.state_dict()[name], rtol=0, atol=0, equal_nan=True)
    assert stored["combiner.first"].isnan().tolist() == [False, True, False]


def test_a_plain_optimiser_stores_nothing_of_the_kind(tmp_path: Path) -> None:
    learner = Learner.plain(nn.Linear(2, 2), nn.CrossEntropyLoss(), lr=0.1)
    path = save_last(tmp_path / "last.safetensors", learner, {"epoch": 1})
    assert not [name for name in load_weights(path)[0] if name.startswith("combiner.")]
    assert load_last(path, learner) == {"epoch": 1}
