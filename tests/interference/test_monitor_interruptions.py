"""Steps that a monitor cannot measure as usual, and what it says instead."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.interference.monitor import Monitor
from tailgrad.interference.monitor_record import scalars

Y = torch.tensor([2, 0, 0, 3, 0, 2, 0, 3, 1, 0, 2, 0])
X = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))


class Mixed(nn.Module):
    """A recurrent layer, which is masked, and a linear one behind a BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.norm, self.head = nn.LSTM(6, 5, batch_first=True), nn.BatchNorm1d(5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.rnn(x[:, None])[0][:, -1]))


def _step(monitor: Monitor, net: nn.Module, decay: float = 0.0, x: Tensor = X, y: Tensor = Y) -> None:
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with monitor.watch(y):
        optimizer.zero_grad()
        extra = sum((p.square().sum() for p in net.parameters()), torch.zeros(()))
        (F.cross_entropy(net(x), y) + decay * extra).backward()
        optimizer.step()


@pytest.mark.parametrize("scaler", [None, lambda: 1.0])
def test_weight_decay_on_every_parameter_leaves_records_without_vectors(scaler: Any) -> None:
    net = _net()
    monitor = Monitor(net, 4, parameters="all", every=1, scaler=scaler)
    for _ in range(6):
        before = [p.detach().clone() for p in net.parameters()]
        _step(monitor, net, 0.01)
    assert [record["step"] for record in monitor.records] == [3, 4, 5, 6]
    record = monitor.records[-1]
    assert (record["numbers"], len(record["unknown"])) == (0, 4)
    for key in ("norm", "alignment", "product"):
        assert record[key] == dict.fromkeys("0123")
    assert record["conflict"] is record["mean_conflict"] is None
    assert record["hurt"] == record["worst_pairs"] == record["alarms"] == []
    after = [p.detach() for p in net.parameters()]
    moved = sum(float((b - a).square().sum()) for b, a in zip(before, after, strict=True)) ** 0.5
    assert record["update_norm"] == pytest.approx(moved, rel=1e-5)
    assert record["cross_entropy"]["3"] > 0
    assert record["pull"]["own"]["0"] > 0
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert "interference/update_norm" in scalars(record)
    assert "only losses and logit gradients are recorded" in monitor.summary()
    assert "Too few measurements to tell whether a class was driven uphill" in monitor.summary()


@pytest.mark.parametrize("kind", ["linear", "norm", "recurrent"])
@pytest.mark.parametrize("length", [4, 64])
def test_autocast_demotes_nothing(kind: str, length: int) -> None:
    torch.manual_seed(0)
    middle = {"linear": nn.Identity(), "norm": nn.BatchNorm1d(8), "recurrent": nn.LSTM(8, 8)}[kind]
    first, last = nn.Linear(6, 8), nn.Linear(8, 4)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.middle, self.last = first, middle, last

        def forward(self, x: Tensor) -> Tensor:
            h = self.middle(self.first(x))
            return self.last((h[0] if isinstance(h, tuple) else h).relu())

    net = Net()
    monitor = Monitor(net, 4, parameters="middle.*" if kind == "recurrent" else "all", every=1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(3):
        x, y = torch.randn(length, 6), torch.randint(4, (length,))
        with monitor.watch(y):
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert [record["step"] for record in monitor.records] == [1, 2, 3]
    assert all(record["unknown"] == [] for record in monitor.records)
    assert all((record["masked"] == []) == (kind != "recurrent") for record in monitor.records)


@pytest.mark.parametrize(
    ("parameters", "training", "is_said"),
    [("all", True, True), ("all", False, False), ("rnn.*", True, False), ("head.*", True, False)],
)
def test_two_decompositions_in_one_record_are_said(parameters: str, training: bool, is_said: bool) -> None:
    torch.manual_seed(0)
    net = Mixed().train(training)
    monitor = Monitor(net, 4, parameters=parameters, every=1)
    _step(monitor, net)
    notes = monitor.records[0]["notes"]
    assert len(notes) == is_said
    assert all("masked parameters hold gradients of class losses" in note for note in notes)
    assert ("contributions of examples." in monitor.summary()) == is_said


def _same(found: Any, wanted: Any) -> None:
    for key in ("norm", "alignment", "product", "cross_entropy", "count", "batches"):
        assert found[key] == pytest.approx(wanted[key], rel=1e-5), key
    for side in ("own", "others"):
        assert found["pull"][side] == pytest.approx(wanted["pull"][side], rel=1e-5)


def _usual() -> Any:
    net = _net()
    monitor = Monitor(net, 4, every=1)
    _step(monitor, net)
    return monitor.records[0]


@pytest.mark.parametrize("what", ["nothing", "forward", "failure", "whole step"])
def test_a_step_that_was_given_up_is_dropped_by_the_next_begin(what: str) -> None:
    net = _net()
    monitor = Monitor(net, 4, every=1)
    start = {name: value.clone() for name, value in net.state_dict().items()}
    monitor.begin(Y[:5])
    if what == "failure":
        with pytest.raises(RuntimeError):
            net(X[:5, :3])
    elif what != "nothing":
        loss = F.cross_entropy(net(X[:5]), Y[:5])
    if what == "whole step":  # and no step_done
        loss.backward()
        torch.optim.SGD(net.parameters(), 0.1).step()
        net.load_state_dict(start)
    _step(monitor, net)
    assert monitor.skipped == 0
    _same(monitor.records[0], _usual())


def test_a_forward_pass_given_up_between_micro_batches_leaves_the_others() -> None:
    net = _net()
    monitor, optimizer = Monitor(net, 4, every=1), torch.optim.SGD(net.parameters(), 0.1)
    for part, is_kept in ((slice(0, 5), True), (slice(2, 9), False), (slice(5, 12), True)):
        monitor.begin(Y[part])
        loss = F.cross_entropy(net(X[part]), Y[part], reduction="sum") / 12
        if is_kept:
            loss.backward()
            monitor.backward_done()
    optimizer.step()
    monitor.step_done()
    _same(monitor.records[0], {**_usual(), "batches": 2})


def test_a_forward_pass_without_backward_pass_ends_in_no_record() -> None:
    net = _net()
    monitor = Monitor(net, 4, every=1)
    monitor.begin(Y)
    net(X)
    monitor.step_done()
    assert (monitor.records, monitor.skipped) == ([], 1)
    _step(monitor, net)
    assert monitor.records[0]["step"] == 2


def test_few_measurements_are_not_taken_for_good_news() -> None:
    net = _net()
    monitor = Monitor(net, 4, every=1)
    said = []
    for _ in range(3):
        _step(monitor, net)
        said.append("Too few measurements to tell whether a class was driven uphill." in monitor.summary())
    assert said == [True, True, False]
    assert "No class was driven uphill early in training." in monitor.summary()
