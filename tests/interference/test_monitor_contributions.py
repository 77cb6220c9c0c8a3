"""What a monitor measures in one step, against per-example weights and masked losses."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.interference import measurement
from tailgrad.interference.monitor import Monitor

Y = torch.tensor([2, 0, 0, 3, 0, 2, 0, 3, 0, 0, 2, 0])  # class 1 is absent
PRESENT = [0, 2, 3]


class Net(nn.Module):
    """Convolutions with BatchNorm in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
        self.deep, self.last = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(x)), inplace=True)
        return self.head(F.relu(self.last(self.deep(x))).mean((2, 3)))


class Recurrent(nn.Module):
    """An LSTM with dropout, whose parameters no rule can split."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, 5, 2, dropout=0.4, batch_first=True)
        self.mix, self.head = nn.Linear(5, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(self.rnn(x)[0][:, -1]).tanh())


def by_example(net: Net, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Gradients [N, numel] of the batch's loss by each example's own copy of the parameters."""
    own = {
        name: p.detach().expand(len(x), *p.shape).clone().requires_grad_()
        for name, p in net.named_parameters()
    }

    def conv(h: Tensor, name: str) -> Tensor:
        outs = [F.conv2d(h[i : i + 1], own[f"{name}.weight"][i]) for i in range(len(h))]
        out = torch.cat(outs)
        return out + own[f"{name}.bias"][:, :, None, None] if f"{name}.bias" in own else out

    def norm(h: Tensor, name: str) -> Tensor:
        centred = h - h.mean((0, 2, 3), keepdim=True)
        hat = centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
        return hat * own[f"{name}.weight"][:, :, None, None] + own[f"{name}.bias"][:, :, None, None]

    h = F.relu(norm(conv(x, "conv"), "norm"))
    h = F.relu(norm(conv(h, "deep"), "last")).mean((2, 3))
    logits = torch.einsum("nf,nkf->nk", h, own["head.weight"]) + own["head.bias"]
    F.cross_entropy(logits, y).backward()
    return {name: p.grad.flatten(1) for name, p in own.items() if p.grad is not None}


def stepped(
    net: nn.Module, x: Tensor, y: Tensor, parameters: str = "all"
) -> tuple[Monitor, dict[str, Tensor], Tensor]:
    """The monitor after one step with momentum, its rows [m, numel] and the update."""
    monitor = Monitor(net, 4, parameters=parameters, every=1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    monitor.begin(y)
    torch.manual_seed(5)
    F.cross_entropy(net(x), y).backward()
    monitor.backward_done()
    rows = dict(monitor._measurement.tally.rows)
    optimizer.step()
    monitor.step_done()
    update = torch.cat([(before[name] - p.detach()).flatten() for name, p in net.named_parameters()])
    return monitor, rows, update


@pytest.fixture
def convolutional() -> tuple[Net, Tensor]:
    torch.manual_seed(0)
    return Net().double().train(), torch.randn(12, 2, 8, 8, dtype=torch.float64)


def test_they_are_the_gradients_of_each_classes_own_copies(convolutional: tuple[Net, Tensor]) -> None:
    net, x = convolutional
    expected = by_example(net, x, Y)
    monitor, rows, update = stepped(net, x, Y)
    assert not monitor.records[0]["masked"]
    for name, p in net.named_parameters():
        wanted = torch.stack([expected[name][c == Y].sum(0) for c in PRESENT])
        torch.testing.assert_close(rows[name], wanted, rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(rows[name].sum(0), p.grad.flatten(), rtol=1e-10, atol=1e-14)
    joint = torch.cat([torch.stack([expected[n][c == Y].sum(0) for c in PRESENT]) for n in expected], 1)
    record = monitor.records[0]
    norms = joint.norm(dim=1)
    assert list(record["norm"]) == ["0", "2", "3"]
    assert list(record["norm"].values()) == pytest.approx(norms.tolist())
    np.testing.assert_allclose(record["conflict"], (joint @ joint.T) / torch.outer(norms, norms), atol=1e-12)
    assert list(record["product"].values()) == pytest.approx((joint @ update).tolist())
    cosines = joint @ update / (norms * update.norm())
    assert list(record["alignment"].values()) == pytest.approx(cosines.tolist())
    assert record["count"] == {"0": 7, "2": 3, "3": 2}
    assert record["update_norm"] == pytest.approx(float(update.norm()))


def test_losses_and_logit_pulls_belong_to_the_classes(convolutional: tuple[Net, Tensor]) -> None:
    net, x = convolutional
    logits = net(x)
    logits.retain_grad()
    F.cross_entropy(logits, Y).backward()
    net.zero_grad()
    record = stepped(net, x, Y)[0].records[0]
    losses = F.cross_entropy(logits.detach(), Y, reduction="none")
    for c in PRESENT:
        assert record["cross_entropy"][str(c)] == pytest.approx(float(losses[c == Y].mean()))
    sizes = logits.grad.abs()
    for c in range(4):
        own, others = float(sizes[c == Y, c].sum()), float(sizes[c != Y, c].sum())
        assert record["pull"]["own"][str(c)] == pytest.approx(own)
        assert record["pull"]["others"][str(c)] == pytest.approx(others)
    assert record["pull"]["ratio"]["1"] == 0.0


def test_recurrent_layers_go_through_masked_passes_and_are_named() -> None:
    torch.manual_seed(0)
    net, x = Recurrent().double().train(), torch.randn(12, 6, 3, dtype=torch.float64)
    monitor, rows, _ = stepped(net, x, Y)
    grads = {name: p.grad.flatten() for name, p in net.named_parameters()}
    torch.manual_seed(0)
    same = Recurrent().double().train()
    torch.manual_seed(5)  # the same dropout
    losses = F.cross_entropy(same(x), Y, reduction="none") / len(Y)
    for place, c in enumerate(PRESENT):
        found = torch.autograd.grad(losses[c == Y].sum(), list(same.parameters()), retain_graph=True)
        for (name, _), g in zip(same.named_parameters(), found, strict=True):
            torch.testing.assert_close(rows[name][place], g.flatten(), rtol=1e-9, atol=1e-14)
    for name, g in grads.items():
        torch.testing.assert_close(rows[name].sum(0), g, rtol=1e-10, atol=1e-14)
    record = monitor.records[0]
    assert record["masked"] == sorted(name for name in grads if name.startswith("rnn."))
    assert "masked backward pass a class: rnn.bias_hh_l0" in monitor.summary()


class SequenceFirst(nn.Module):
    """Twelve tokens and twelve examples: the first dimension of its inner layer is not the examples'."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(3, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(x.transpose(0, 1)).tanh().mean(0))


def test_a_layer_that_runs_over_tokens_first_is_not_split_by_token() -> None:
    x = torch.randn(12, 12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    nets = []
    for _ in range(2):
        torch.manual_seed(0)
        nets.append(SequenceFirst().double())
    monitor, rows, _ = stepped(nets[0], x, Y, "inner.*")
    assert monitor.records[0]["masked"] == ["inner.bias", "inner.weight"]
    losses = F.cross_entropy(nets[1](x), Y, reduction="none") / len(Y)
    wanted = torch.autograd.grad(losses[Y == 3].sum(), nets[1].inner.weight)[0]
    torch.testing.assert_close(rows["inner.weight"][2], wanted.flatten(), rtol=1e-9, atol=1e-14)


def test_a_regulariser_inside_the_loss_makes_parameters_unknown_and_is_said(
    convolutional: tuple[Net, Tensor],
) -> None:
    net, x = convolutional
    monitor = Monitor(net, 4, parameters="all", every=1)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    for _ in range(4):
        with monitor.watch(Y):
            optimizer.zero_grad()
            (F.cross_entropy(net(x), Y) + net.head.weight.square().sum()).backward()
            optimizer.step()
    assert [record["step"] for record in monitor.records] == [3, 4]  # split, masked, then without it
    assert monitor.records[0]["unknown"] == ["head.weight"]
    assert monitor.records[0]["numbers"] == sum(p.numel() for p in net.parameters()) - 16
    assert "Not measured" in monitor.summary()
    assert "head.weight; put weight decay into the optimiser" in monitor.summary()


def test_above_the_limit_contributions_are_sketched(
    monkeypatch: pytest.MonkeyPatch, convolutional: tuple[Net, Tensor]
) -> None:
    x = torch.randn(12, 40, generator=torch.Generator().manual_seed(2))

    def record() -> dict[str, dict[str, float]]:
        torch.manual_seed(0)
        wide = nn.Sequential(nn.Linear(40, 300), nn.ReLU(), nn.Linear(300, 30), nn.ReLU(), nn.Linear(30, 4))
        monitor = stepped(wide, x, Y, "backbone")[0]
        assert "sketches of 4096 numbers" in monitor.summary() or not monitor.records[0]["sketch"]
        return monitor.records[0]

    exact = record()
    monkeypatch.setattr(measurement, "MAX_BYTES", 1000)
    sketched = record()
    assert (exact["sketch"], sketched["sketch"]) == (0, 4096)
    np.testing.assert_allclose(sketched["conflict"], exact["conflict"], atol=5 / 64)
    for name, value in exact["alignment"].items():
        assert sketched["alignment"][name] == pytest.approx(value, abs=5 / 64)
        assert sketched["norm"][name] == pytest.approx(exact["norm"][name], rel=5 / 64)


def test_later_measurements_find_the_same_with_the_largest_class_as_the_rest(
    convolutional: tuple[Net, Tensor],
) -> None:
    net, x = convolutional
    frozen = {name: value.clone() for name, value in net.state_dict().items()}
    monitor = Monitor(net, 4, parameters="all", every=1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(11):
        net.load_state_dict(frozen)
        with monitor.watch(Y):
            optimizer.zero_grad()
            F.cross_entropy(net(x), Y).backward()
            optimizer.step()
    first = monitor.records[0]
    for later in monitor.records[1:]:
        for key in ("norm", "alignment", "product"):
            assert later[key] == pytest.approx(first[key], rel=1e-9)
        assert later["mean_conflict"] == pytest.approx(first["mean_conflict"], rel=1e-9)


def test_a_loss_that_changes_is_noticed_at_a_later_comparison(convolutional: tuple[Net, Tensor]) -> None:
    net, x = convolutional
    monitor = Monitor(net, 4, parameters="all", every=1)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    for step in range(14):
        with monitor.watch(Y):
            optimizer.zero_grad()
            extra = net.head.weight.square().sum() if step > 3 else 0.0
            (F.cross_entropy(net(x), Y) + extra).backward()
            optimizer.step()
    assert [record["unknown"] for record in monitor.records[:10]] == [[]] * 10
    assert monitor.records[-1]["unknown"] == ["head.weight"]
