"""Steps and objectives under bfloat16 autocast, against the same passes written out by hand."""

from collections.abc import Callable
from copy import deepcopy
from itertools import product
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.engine import (
    Auxiliary,
    Examples,
    Learner,
    Schedule,
    joint_objective,
    sharp_step,
    supervised_step,
)
from tailgrad.losses import CrossEntropyLoss, NTXentLoss
from tailgrad.models import BBN, CifarResNet
from tailgrad.optim import SAM
from tailgrad.types import Batch, Output

RATE, RHO = 0.1, 0.3


class _Net(nn.Module):
    """A convolution with BatchNorm and a head: some layers run in bfloat16, some in float32."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images))
        return logits

    def outputs(self, images: Tensor) -> Output:
        features = self.body(images)
        return Output(self.head(features), features)


def _learner(net: nn.Module, loss: nn.Module, precision: str = "bf16-mixed", sam: bool = False) -> Learner:
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    plain = torch.optim.SGD(net.parameters(), lr=RATE)
    module = fabric.setup_module(net)
    if hasattr(net, "outputs"):
        module.mark_forward_method("outputs")
    optimizer = fabric.setup_optimizers(SAM(net, plain, rho=RHO) if sam else plain)
    return Learner(fabric, module, loss, optimizer, Schedule(), lambda x: x.float(), lambda x: x)


def _batch(n: int = 6) -> Batch:
    torch.manual_seed(1)
    return Batch(torch.randn(n, 3, 4, 4), torch.arange(n) % 3, torch.arange(n))


def _autocast(precision: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed")


def _gradients(net: nn.Module, batch: Batch, precision: str) -> tuple[Tensor, list[Tensor]]:
    with _autocast(precision):
        logits = net(batch.inputs)
    loss = F.cross_entropy(logits.float(), batch.target)
    return loss.detach(), list(torch.autograd.grad(loss, list(net.parameters())))


def _two_passes(net: nn.Module, batch: Batch, precision: str) -> Tensor:
    """``w <- w - rate grad L(w + rho g / |g|)``; only the first pass moves BatchNorm's statistics."""
    loss, first = _gradients(net, batch, precision)
    statistics = {name: value.clone() for name, value in net.named_buffers()}
    norm = torch.cat([g.flatten() for g in first]).norm()
    kept = [p.detach().clone() for p in net.parameters()]
    with torch.no_grad():
        for parameter, gradient in zip(net.parameters(), first, strict=True):
            parameter.add_(gradient, alpha=RHO / float(norm))
    _, second = _gradients(net, batch, precision)
    with torch.no_grad():
        for parameter, weight, gradient in zip(net.parameters(), kept, second, strict=True):
            parameter.copy_(weight - RATE * gradient)
        for name, buffer in net.named_buffers():
            buffer.copy_(statistics[name])
    return loss


def _state(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_sharp_step_is_two_passes_by_hand(precision: str) -> None:
    net, copy, batch = _Net(), _Net(), _batch()
    learner = _learner(net, CrossEntropyLoss(reduction="none"), precision, sam=True)
    start = _state(net)
    for _ in range(2):
        found, expected = sharp_step(learner, batch), _two_passes(copy, batch, precision)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        assert found.dtype == torch.float32
        assert not found.requires_grad
        for name, value in _state(net).items():
            torch.testing.assert_close(value, copy.state_dict()[name], rtol=1e-4, atol=1e-5)
    assert int(net.body[1].num_batches_tracked) == 2
    assert any(not torch.equal(value, start[name]) for name, value in _state(net).items())


def test_autocast_reaches_the_network_that_an_optimiser_runs_itself() -> None:
    """The comparison above means something: the two precisions give different steps, and bfloat16 is used."""
    states, seen = [], []
    for precision in ("32-true", "bf16-mixed"):
        net = _Net()
        learner = _learner(net, CrossEntropyLoss(reduction="none"), precision, sam=True)
        net.head.register_forward_hook(lambda _m, _i, output: seen.append(output.dtype))
        sharp_step(learner, _batch())
        states.append(_state(net))
    assert seen == [torch.float32] * 2 + [torch.bfloat16] * 2
    gap = (states[0]["head.weight"] - states[1]["head.weight"]).abs().max()
    assert 1e-5 < gap < 1e-2


@pytest.mark.parametrize("step", [sharp_step, supervised_step])
def test_images_are_augmented_and_mixed_once_a_step(step: Callable[..., Tensor]) -> None:
    calls: list[str] = []

    def counted(name: str, value: Any) -> Any:
        calls.append(name)
        return value

    sharp = step is sharp_step
    loss = CrossEntropyLoss(reduction="none" if sharp else "mean")
    learner = _learner(_Net(), loss, sam=sharp)
    learner.augment = lambda x: counted("augment", x + torch.randn_like(x))
    learner.mix = lambda x, y, _: counted("mix", (x, F.one_hot(y, 3).float()))
    learner.augment_bytes = lambda x: counted("bytes", x)
    step(learner, _batch())
    assert calls == ["bytes", "augment", "mix"]


# A second loss


def _joint(
    precision: str, weight: float = 0.6, direct: bool = True
) -> tuple[Tensor, Learner, Examples, nn.Module]:
    loss, batch = CrossEntropyLoss(), _batch()
    torch.manual_seed(2)
    projector = nn.Linear(16, 5)
    loss.add_module("auxiliary", Auxiliary(NTXentLoss(temperature=0.5), weight, projector))
    learner = _learner(_Net().eval(), loss, precision)
    views = torch.stack([batch.inputs + 0.1, batch.inputs.flip(-1)])
    examples = Examples(batch.inputs, batch.target, batch.target, views)
    run = learner.direct() if direct else learner
    return joint_objective(run, examples), learner, examples, projector


@pytest.mark.parametrize(("precision", "direct"), list(product(["32-true", "bf16-mixed"], [False, True])))
def test_both_losses_are_those_of_passes_by_hand(precision: str, direct: bool) -> None:
    value, learner, examples, projector = _joint(precision, direct=direct)
    net: Any = learner.network
    assert examples.views is not None
    with _autocast(precision):
        logits = net(examples.images)
        features = torch.stack([net.body(view) for view in examples.views])
    projected = projector(features.float())
    second = NTXentLoss(temperature=0.5)(projected, examples.labels)
    expected = F.cross_entropy(logits.float(), examples.target) + 0.6 * second
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    assert value.dtype == torch.float32


def test_gradients_of_both_losses_reach_network_and_projector_in_float32() -> None:
    value, learner, _, projector = _joint("bf16-mixed")
    value.backward()
    for parameter in (*learner.network.parameters(), *projector.parameters()):
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()
    exact, other, _, _ = _joint("32-true")
    exact.backward()
    low, high = (
        torch.cat([p.grad.flatten() for p in one.network.parameters() if p.grad is not None])
        for one in (learner, other)
    )
    cosine = float(F.cosine_similarity(low.double(), high.double(), dim=0))
    assert 0.99 < cosine < 1 - 1e-9


def test_the_weight_scales_the_second_loss_alone() -> None:
    values = [_joint("bf16-mixed", weight)[0].item() for weight in (0.0, 0.5, 1.0, 2.0)]
    slope = values[2] - values[0]
    assert slope > 0.1
    for weight, value in zip((0.0, 0.5, 1.0, 2.0), values, strict=True):
        assert value == pytest.approx(values[0] + weight * slope, abs=1e-5)


def test_sharp_steps_climb_both_losses() -> None:
    """The ascent of a joint step is along the gradient of the sum: other views, another step."""
    states = []
    for flipped in (False, True):
        loss = CrossEntropyLoss(reduction="none")
        torch.manual_seed(2)
        loss.add_module("auxiliary", Auxiliary(NTXentLoss(), 1.0, nn.Linear(16, 5)))
        learner = _learner(_Net(), loss, sam=True)
        learner.objective = joint_objective
        learner.views = lambda x, f=flipped: torch.stack([x, x.flip(-1) if f else x.flip(-2)])
        sharp_step(learner, _batch())
        states.append(_state(learner.network)["body.0.weight"])
    assert not torch.equal(*states)


# The network itself, under the learner's precision


def test_the_direct_network_gives_wide_logits_and_the_same_weights() -> None:
    net = _Net().eval()
    learner = _learner(net, CrossEntropyLoss())
    direct = learner.direct()
    images = _batch().inputs
    logits = direct.model(images)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, learner.model(images).float())
    assert direct.network is net
    assert direct.optimizer is learner.optimizer
    assert learner.model is not direct.model
    outputs: Any = direct.model.outputs
    assert outputs(images).features.dtype == torch.bfloat16 or outputs(images).logits.dtype == torch.bfloat16


def test_the_direct_network_mixes_two_branches_under_autocast() -> None:
    torch.manual_seed(0)
    net = BBN(lambda: CifarResNet(blocks=1), lambda backbone: nn.Linear(backbone.pooled, 3)).eval()
    images, others = torch.rand(2, 2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        expected = deepcopy(net).mixed(images, others, 0.25)
    mixed: Any = _learner(net, CrossEntropyLoss()).direct().model.mixed
    assert torch.equal(mixed(images, others, 0.25), expected)
