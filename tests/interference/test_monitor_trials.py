"""Networks that reorder their examples: the trial must notice, whatever the batch looks like."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.interference.monitor import Monitor
from tailgrad.interference.scope import Scope, find_scope
from tailgrad.interference.splittable import Splittable
from tailgrad.interference.trial_rows import TRIED, trial_rows


class Sorting(nn.Module):
    """Sorts its examples by their first feature and puts the logits back."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        order = x[:, 0].argsort(stable=True)
        return self.b(self.a(x[order]).tanh()[order.argsort()])


class Gated(nn.Module):
    """A side branch, flattened time first, that only examples with a large first feature take part in."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.side, self.head = nn.Linear(6, 5), nn.Linear(2, 5), nn.Linear(5, 12)

    def forward(self, x: Tensor) -> Tensor:
        times = x.view(len(x), 3, 2).transpose(0, 1).reshape(3 * len(x), 2)
        side = self.side(times).tanh().view(3, len(x), 5).sum(0)
        return self.head(self.main(x).tanh() + (x[:, :1] > 5) * side)


def _norms(net: nn.Module, names: Sequence[str], x: Tensor, y: Tensor) -> dict[str, float]:
    """|gradient of class c's part of the mean loss|, one backward pass a class."""
    wanted = [p for name, p in net.named_parameters() if name in names]
    losses = F.cross_entropy(net(x), y, reduction="none") / len(y)
    parts = {
        int(c): torch.autograd.grad(losses[y == c].sum(), wanted, retain_graph=True) for c in torch.unique(y)
    }
    return {str(c): float(torch.cat([g.flatten() for g in found]).norm()) for c, found in parts.items()}


def _measure(monitor: Monitor, net: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """One step, and the norms that it should have recorded."""
    names = list(dict(net.named_parameters()))
    wanted = _norms(net, names, x, y)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with monitor.watch(y):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    return wanted


def _gated_batch(labels: Sequence[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    y = torch.tensor(labels)
    x = torch.randn(len(y), 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    x[:, 0] = torch.where(y >= 2, 9.0, x[:, 0].clamp(max=3))
    return x, y


@pytest.mark.parametrize("seed", range(10))
def test_a_permutation_that_leaves_the_first_examples_in_place_is_noticed(seed: int) -> None:
    torch.manual_seed(seed)
    net, x = Sorting().double(), torch.randn(40, 8, dtype=torch.float64)
    x[:20, 0] = 9.0
    y = torch.tensor([0] * 20 + [1] * 20)
    monitor = Monitor(net, 2, parameters="all", every=1)
    wanted = _measure(monitor, net, x, y)
    assert monitor.records[0]["masked"] == ["a.bias", "a.weight"]
    assert monitor.records[0]["norm"] == pytest.approx(wanted, rel=1e-9)


def test_a_branch_that_works_for_some_classes_is_tried_once_they_come() -> None:
    torch.manual_seed(0)
    net = Gated().double()
    monitor = Monitor(net, 12, parameters="all", every=1)
    batches = [[0, 1] * 8, [1, 0] * 8, [0] * 9 + [1] * 9 + [2, 3] * 3, [2, 0, 1, 3] * 4]
    for seed, labels in enumerate(batches):
        x, y = _gated_batch(labels, seed)
        wanted = _measure(monitor, net, x, y)
        record = monitor.records[-1]
        assert record["norm"] == pytest.approx(wanted, rel=1e-9)
        assert record["masked"] == ([] if seed < 2 else ["side.bias", "side.weight"])
        assert record["unknown"] == []
    assert [record["step"] for record in monitor.records] == [1, 2, 3, 4]


def test_more_classes_than_a_trial_holds_are_all_tried() -> None:
    torch.manual_seed(0)
    net = Gated().double()
    x, y = _gated_batch([1] * 30 + [0, 4, 5, 6, 7, 8, 9, 10, 11] * 2)
    x[:, 0] = torch.where(y == 11, 9.0, x[:, 0].clamp(max=3))  # the branch works for one class in eleven
    monitor = Monitor(net, 12, parameters="all", every=1)
    wanted = _measure(monitor, net, x, y)
    assert monitor.records[0]["masked"] == ["side.bias", "side.weight"]
    assert monitor.records[0]["norm"] == pytest.approx(wanted, rel=1e-9)


def test_what_a_later_micro_batch_shows_gives_the_measurement_up() -> None:
    torch.manual_seed(0)
    net = Gated().double()
    monitor = Monitor(net, 12, parameters="all", every=1)
    _measure(monitor, net, *_gated_batch([0] * 8))
    for labels in ([0, 0, 0], [1, 2, 3]):
        x, y = _gated_batch(labels)
        monitor.begin(y)
        F.cross_entropy(net(x), y).backward()
        monitor.backward_done()
    monitor.step_done()
    assert (len(monitor.records), monitor.skipped) == (1, 1)
    x, y = _gated_batch([0, 1, 2, 3])
    wanted = _measure(monitor, net, x, y)
    assert monitor.records[1]["norm"] == pytest.approx(wanted, rel=1e-9)


def test_trials_run_only_while_classes_are_new() -> None:
    torch.manual_seed(0)
    net, lengths = Gated().double(), []
    net.main.register_forward_pre_hook(lambda _, args: lengths.append(len(args[0])))
    monitor, trials = Monitor(net, 12, parameters="main.*", every=1), []
    for labels in ([0, 1] * 8, [1, 0] * 8, [2, 1] * 8, [0, 2] * 8):
        x, y = _gated_batch(labels)
        with monitor.watch(y):
            F.cross_entropy(net(x), y).backward()
        trials.append(lengths.count(TRIED))
    assert trials == [1, 1, 2, 2]


def test_rows_cover_new_classes_first_and_leave_the_random_state_alone() -> None:
    y = torch.tensor([0] * 50 + [1] * 50 + [2, 3])
    before = torch.get_rng_state()
    first, second = y[trial_rows(y, set())], y[trial_rows(y, {0, 1, 2})]
    assert torch.equal(before, torch.get_rng_state())
    assert set(first.tolist()) == {0, 1, 2, 3}
    assert second[0] == 3
    assert set(second.tolist()) == {0, 1, 2, 3}
    rows = trial_rows(torch.zeros(40, dtype=torch.long), set()).tolist()
    assert len(set(rows)) == TRIED
    assert rows != sorted(rows)
    assert set(trial_rows(torch.tensor([3, 3]), set()).tolist()) == {0, 1}


def test_a_use_that_changes_with_the_examples_is_not_split() -> None:
    key = ("linear", frozenset({"w"}), 0)
    scope = Scope("all", {"w": torch.zeros(1), "v": torch.zeros(1)}, {key: [0]}, verified={"w"})
    other = ("linear", frozenset({"v"}), 0)
    assert not scope.take(Splittable({key: [0], other: [0]}, {}))
    assert set(scope.layout) == {key, other}
    assert scope.take(Splittable({key: []}, {}))
    assert (scope.masked, scope.verified) == ({"w": "its use changes with the examples"}, set())


def test_a_trial_that_fails_leaves_everything_to_masked_passes() -> None:
    class Failing(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) == TRIED:
                raise ValueError("seven\nis odd")
            return super().forward(x)

    net = Failing(3, 2)
    scope = find_scope(net, net, torch.rand(9, 3), torch.arange(9) % 2, "all")
    assert scope.masked == dict.fromkeys(["weight", "bias"], "the trial failed: seven")
