"""The step that balances class gradients at the features."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.engine import (
    Learner,
    LossWatch,
    Plan,
    Schedule,
    balanced_step,
    fit,
    infer,
    load_weights,
    supervised_step,
)
from tailgrad.optim import ShareBalancer
from tailgrad.types import Batch


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(16, 2)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(images))
        return logits


def _learner(balancer: nn.Module | None, *, mixed: bool = False, lr: float = 0.1) -> Learner:
    net, loss = _Net(), nn.CrossEntropyLoss()
    if balancer is not None:
        loss.add_module("balancer", balancer)
    plugins: Any = [MixedPrecision("bf16-mixed", "cpu")] if mixed else None
    fabric = Fabric(accelerator="cpu", devices=1, plugins=plugins)
    module, stepper = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=lr))
    return Learner(fabric, module, loss, stepper, Schedule(), lambda x: x.float(), lambda x: x)


def _batch() -> Batch:
    torch.manual_seed(1)
    return Batch(torch.randn(8, 3, 4, 4), torch.tensor([0, 0, 0, 0, 0, 0, 1, 1]), torch.arange(8))


def _gradients(net: nn.Module, factors: Tensor | None, batch: Batch) -> dict[str, Tensor]:
    """Gradients of the parameters with the features' gradient of each example scaled."""
    net.zero_grad()
    features = net.backbone(batch.inputs)
    if factors is not None:
        features.register_hook(lambda g: g * factors[:, None])
    nn.functional.cross_entropy(net.head(features), batch.target).backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def test_it_scales_what_each_class_sends_the_backbone_and_nothing_else() -> None:
    batch, learner = _batch(), _learner(ShareBalancer(2, shares=[1.0, 3.0]))
    before = {name: p.detach().clone() for name, p in learner.network.named_parameters()}
    balanced_step(learner, batch)
    net = _Net()
    features = net.backbone(batch.inputs).detach().requires_grad_()
    nn.functional.cross_entropy(net.head(features), batch.target).backward()
    assert features.grad is not None
    norms = torch.stack([features.grad[batch.target == k].norm() for k in (0, 1)])
    # The first running norms are the norms themselves: R is their sum, a quarter of it is class 0's.
    factors = (norms.sum() * torch.tensor([0.25, 0.75]) / norms)[batch.target]
    for name, gradient in _gradients(net, factors, batch).items():
        moved = (before[name] - learner.network.get_parameter(name).detach()) / 0.1
        torch.testing.assert_close(moved, gradient, rtol=1e-3, atol=1e-6)
    plain = _gradients(_Net(), None, batch)["head.weight"]
    torch.testing.assert_close(_gradients(net, factors, batch)["head.weight"], plain)


def test_shares_as_they_are_give_the_supervised_step() -> None:
    batch = _batch()
    net = _Net()
    features = net.backbone(batch.inputs).detach().requires_grad_()
    nn.functional.cross_entropy(net.head(features), batch.target).backward()
    assert features.grad is not None
    shares = [float(features.grad[batch.target == k].norm()) for k in (0, 1)]
    balanced, plain = _learner(ShareBalancer(2, shares=shares)), _learner(None)
    torch.testing.assert_close(balanced_step(balanced, batch), supervised_step(plain, batch))
    for a, b in zip(balanced.network.parameters(), plain.network.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("mixed", [False, True])
def test_it_learns_in_both_precisions(mixed: bool) -> None:
    learner = _learner(ShareBalancer(2), mixed=mixed)
    losses = [float(balanced_step(learner, _batch())) for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]


def test_the_network_is_its_own_again_after_the_step() -> None:
    learner = _learner(ShareBalancer(2))
    balanced_step(learner, _batch())
    assert not learner.network.backbone._forward_hooks
    infer(learner, [_batch()])
    learner.augment = lambda x: x[:, :1]  # three channels are needed
    with pytest.raises(RuntimeError):
        balanced_step(learner, _batch())
    assert not learner.network.backbone._forward_hooks


def test_a_trial_of_the_network_within_the_pass_is_not_balanced() -> None:
    learner, undisturbed = _learner(ShareBalancer(2)), _learner(ShareBalancer(2))

    def try_it(net: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if net.training:
            net.eval()
            net(inputs[0][:7]).sum().backward()
            net.train()

    learner.network.register_forward_pre_hook(try_it)
    balanced_step(learner, _batch())
    balanced_step(undisturbed, _batch())
    assert torch.equal(learner.loss.balancer.norm, undisturbed.loss.balancer.norm)
    for a, b in zip(learner.network.parameters(), undisturbed.network.parameters(), strict=True):
        assert torch.equal(a, b)


def _fit(learner: Learner, folder: Path, epochs: int) -> None:
    torch.manual_seed(2)
    images = torch.randint(256, (22, 3, 4, 4), dtype=torch.uint8)
    loader = ResidentLoader(images, torch.arange(22) % 2, torch.arange(22), batch_size=8, seed=5)
    learner.prepare = lambda x: x.float() / 255
    plan = Plan(epochs=epochs, keep=folder, monitor="score")
    fit(learner, loader, lambda: {"score": 0.5}, plan, step=balanced_step, watch=LossWatch(str))


def test_running_norms_are_stored_and_the_loop_resumes_to_the_same_weights(tmp_path: Path) -> None:
    unbroken, resumed = _learner(ShareBalancer(2)), _learner(ShareBalancer(2))
    _fit(unbroken, tmp_path / "a", 4)
    _fit(_learner(ShareBalancer(2)), tmp_path / "b", 2)
    stored = load_weights(tmp_path / "b" / "last.safetensors")[0]
    assert (stored["loss.balancer.norm"] > 0).all()
    _fit(resumed, tmp_path / "b", 4)
    for a, b in zip(resumed.network.parameters(), unbroken.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(resumed.loss.balancer.norm, unbroken.loss.balancer.norm)
    with pytest.raises(InputError, match="checkpoint must fit the network"):
        _fit(_learner(None), tmp_path / "b", 5)


@pytest.mark.parametrize("balancer", [None, nn.Identity()])
def test_a_loss_without_a_balancer_is_refused(balancer: nn.Module | None) -> None:
    with pytest.raises(
        InputError, match=r"the loss must carry a ShareBalancer, got CrossEntropyLoss.*add_mod"
    ):
        balanced_step(_learner(balancer), _batch())


def test_a_network_without_a_backbone_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    loss = nn.CrossEntropyLoss()
    loss.add_module("balancer", ShareBalancer(2))
    with pytest.raises(InputError, match="must have a module backbone.*got Sequential"):
        balanced_step(Learner.plain(net, loss, lr=0.1), _batch())


def test_mixed_labels_are_refused() -> None:
    batch = _batch()
    soft = Batch(batch.inputs, nn.functional.one_hot(batch.target, 2).float(), batch.index)
    with pytest.raises(InputError, match=r"target must be class indices.*switch mixing off"):
        balanced_step(_learner(ShareBalancer(2)), soft)
