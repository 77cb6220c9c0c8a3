"""A monitor in the ways people train: accumulation, mixed precision, compiled, with hooks, over time."""

import json
import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.interference.monitor import Monitor
from tailgrad.interference.monitor_record import scalars

Y = torch.tensor([2, 0, 0, 3, 0, 2, 0, 3, 1, 0, 2, 0])
X = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 4))


def _step(
    monitor: Monitor, model: Any, optimizer: torch.optim.Optimizer, x: Tensor = X, y: Tensor = Y
) -> None:
    with monitor.watch(y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def _one_record(**options: Any) -> dict[str, Any]:
    model = _net()
    monitor = Monitor(model, 4, every=1, **options)
    _step(monitor, model, torch.optim.SGD(model.parameters(), 0.1))
    return monitor.records[0]


def _close(found: Any, wanted: Any, rel: float = 1e-4) -> None:
    for key in ("norm", "alignment", "product", "cross_entropy"):
        assert found[key] == pytest.approx(wanted[key], rel=rel, abs=1e-6), key
    assert found["count"] == wanted["count"]
    for side in ("own", "others"):
        assert found["pull"][side] == pytest.approx(wanted["pull"][side], rel=rel)


def test_micro_batches_add_up_to_the_batch() -> None:
    model = _net()
    monitor, optimizer = Monitor(model, 4, every=1), torch.optim.SGD(model.parameters(), 0.1)
    for part in (slice(0, 3), slice(3, 8), slice(8, 12)):  # class 1 is in the last only
        monitor.begin(Y[part])
        (F.cross_entropy(model(X[part]), Y[part], reduction="sum") / 12).backward()
        monitor.backward_done()
    optimizer.step()
    monitor.step_done()
    record = monitor.records[0]
    assert record["batches"] == 3
    _close(record, _one_record())
    wanted = {tuple(sorted((p["first"], p["second"]))): p["conflict"] for p in _one_record()["worst_pairs"]}
    found = {tuple(sorted((p["first"], p["second"]))): p["conflict"] for p in record["worst_pairs"]}
    assert found == pytest.approx(wanted, rel=1e-4)


def test_a_scaled_loss_is_measured_unscaled() -> None:
    model = _net()
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    monitor, optimizer = Monitor(model, 4, every=1, scaler=scaler), torch.optim.SGD(model.parameters(), 0.1)
    with monitor.watch(Y):
        scaler.scale(F.cross_entropy(model(X), Y)).backward()
        scaler.step(optimizer)
        scaler.update(64.0)
    _close(monitor.records[0], _one_record())
    assert _one_record(scaler=lambda: 2.0)["norm"]["0"] == pytest.approx(_one_record()["norm"]["0"] / 2)


def test_steps_that_the_scaler_skips_are_left_out() -> None:
    model = _net()
    scaler = torch.amp.GradScaler("cpu", init_scale=1e38, backoff_factor=1e-30)
    monitor, optimizer = Monitor(model, 4, every=5, scaler=scaler), torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        with monitor.watch(Y):
            optimizer.zero_grad()
            scaler.scale(1e4 * F.cross_entropy(model(X), Y)).backward()
            scaler.step(optimizer)
            scaler.update()
    assert (monitor.skipped, [record["step"] for record in monitor.records]) == (1, [2])


def test_half_precision_forward_passes_are_split() -> None:
    model = _net()
    monitor, optimizer = Monitor(model, 4, every=1), torch.optim.SGD(model.parameters(), 0.1)
    with monitor.watch(Y):
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(X).float(), Y)
        loss.backward()
        optimizer.step()
    assert monitor.records[0]["masked"] == monitor.records[0]["unknown"] == []
    _close(monitor.records[0], _one_record(), rel=0.1)


@pytest.mark.filterwarnings("ignore")  # of the compiler's own making
@pytest.mark.parametrize("form", ["wrapped", "inner", "method"])
def test_a_compiled_model_is_measured_uncompiled(form: str) -> None:
    model = _net()
    compiled: Any = model
    if form == "method":
        model.compile(backend="aot_eager")
    else:
        compiled = torch.compile(model, backend="aot_eager")
    monitor = Monitor(model if form == "inner" else compiled, 4, every=2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(4):
        _step(monitor, compiled, optimizer)
    assert [record["step"] for record in monitor.records] == [1, 3]
    _close(monitor.records[0], _one_record())
    assert monitor.records[0]["masked"] == []
    assert ("uncompiled" in monitor.summary()) == (form != "inner")


def test_it_can_begin_inside_a_forward_pre_hook() -> None:
    model = _net()
    monitor, optimizer = Monitor(model, 4, every=1), torch.optim.SGD(model.parameters(), 0.1)
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: monitor.begin(Y, call=(args, kwargs)) if model.training else None,
        with_kwargs=True,
    )
    F.cross_entropy(model(X), Y).backward()
    monitor.backward_done()
    optimizer.step()
    monitor.step_done()
    hook.remove()
    _close(monitor.records[0], _one_record())
    assert len(model._forward_hooks) == 0


class _Outputs(nn.Module):
    """Called through ``outputs`` by losses on features; its forward returns a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = _net()[:4], nn.Linear(8, 4)

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        features = self.backbone(x)
        return {"logits": self.head(features), "features": features}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.outputs(x)


def test_a_loss_on_features_is_split_without_logit_gradients() -> None:
    model = _Outputs()
    monitor, optimizer = Monitor(model, 4, every=1), torch.optim.SGD(model.parameters(), 0.1)
    with monitor.watch(Y):
        (model.outputs(X)["features"] * F.one_hot(Y, 8)).square().mean().backward()
        optimizer.step()
    record = monitor.records[0]
    assert set(record["norm"]) == set("0123")
    assert all(value > 0 for value in record["norm"].values())
    assert set(record["pull"]["own"].values()) == {0.0}
    assert "outputs" not in vars(model)


def test_validation_between_begin_and_the_training_pass_is_not_heard() -> None:
    model = _net()
    monitor, optimizer = Monitor(model, 4, every=1), torch.optim.SGD(model.parameters(), 0.1)
    with monitor.watch(Y):
        with torch.no_grad():
            model(torch.zeros(2, 6))
        F.cross_entropy(model(X), Y).backward()
        optimizer.step()
    _close(monitor.records[0], _one_record())


def test_seconds_decide_where_given(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    model = _net()
    monitor, optimizer = Monitor(model, 4, seconds=10), torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        _step(monitor, model, optimizer)
        now[0] += 4
    assert [record["step"] for record in monitor.records] == [1, 4]
    now[0] -= 4
    monitor.begin(Y)  # not due, so that its other micro-batches are not either
    now[0] += 100
    monitor.begin(Y)
    assert "forward" not in vars(model)


def test_records_are_json_and_flatten_to_numbers() -> None:
    seen: list[dict[str, Any]] = []
    record = _one_record(log=seen.append)
    assert seen == [record]
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    flat = scalars(record)
    assert flat["interference/norm/0"] == record["norm"]["0"]
    assert flat["interference/pull/own/3"] == record["pull"]["own"]["3"]
    assert not any("hurt" in key or "worst" in key for key in flat)


def test_a_class_driven_uphill_is_reported_with_who_did_it() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    x = torch.randn(40, 6).abs()
    y = torch.tensor([0] * 36 + [1] * 2 + [2] * 2)
    monitor = Monitor(model, ["many", "few", "rare"], every=1)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(10):
        _step(monitor, model, optimizer, x, y)
    drops = {drop.class_name: drop for drop in monitor.drops()}
    assert drops
    assert set(drops) <= {"few", "rare"}
    for drop in drops.values():
        losses = [r["cross_entropy"][drop.class_name] for r in monitor.records]
        assert losses[drop.first - 1] == drop.loss_before < drop.loss_after
        inside = [r["product"][drop.class_name] for r in monitor.records[drop.first - 1 : drop.last]]
        assert max(inside) < 0
        assert drop.culprits[0] == "many"
    alarms = [alarm for record in monitor.records for alarm in record["alarms"]]
    assert {alarm["class_name"] for alarm in alarms} == set(drops)
    assert "driven by many" in monitor.summary()
    assert "rare in 1" in monitor.summary() or "few in 1" in monitor.summary()
    assert monitor.drops(until=0) == []


def test_why_nothing_was_measured_is_said() -> None:
    assert "no step was watched; put the forward pass" in Monitor(_net(), 4).summary()


def test_why_nothing_was_measured_in_steps_that_were_watched_is_said() -> None:
    net = _net()
    monitor = Monitor(net, 4, every=1)
    for _ in range(2):
        with monitor.watch(Y):
            (F.cross_entropy(net(X), Y) * float("nan")).backward()
    with monitor.watch(Y):
        net(X)  # and no backward pass
    assert monitor.records == []
    said = monitor.summary()
    assert said.startswith("Nothing was measured in 3 steps: a gradient was NaN or infinite (2 of them)"), (
        said
    )
    assert "was not heard as a whole (1 of them)" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be a whole number of steps, at least 1, got 0"),
        ({"every": 1.5}, "every must be a whole number of steps, at least 1, got 1.5"),
        ({"seconds": 0}, r"seconds must be in \(0, inf\), got 0"),
        ({"classes": 1}, "classes must be at least 2 different names, or their number, got 1"),
        ({"classes": ["a", "a"]}, r"classes must be at least 2 different names.*got \['a', 'a'\]"),
        ({"classes": "ab"}, "classes must be at least 2 different names.*got 'ab'"),
        ({"scaler": 3}, "scaler must be a GradScaler or a function.*got 3"),
        ({"model": 3}, "model must be a torch.nn.Module, got int"),
        ({"model": nn.ReLU()}, "model must have parameters, got ReLU without any"),
        ({"model": nn.DataParallel(nn.Linear(2, 2))}, "model must hold whole parameters.*got DataParallel"),
    ],
)
def test_bad_arguments_are_named(options: dict[str, Any], message: str) -> None:
    given = {"model": _net(), "classes": 4} | options
    with pytest.raises(InputError, match=message):
        Monitor(given.pop("model"), given.pop("classes"), **given)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            torch.full((12, 4), 0.25),
            r"target must be class indices \[N\], got torch.float32 \[12, 4\]; switch mixing",
        ),
        (torch.zeros(12), r"target must be class indices \[N\], got torch.float32 \[12\]"),
        ([0, 1], r"target must be class indices \[N\], got list"),
        (torch.tensor([0, 4]), "target must be in 0 to 3 for 4 classes, got 4; give Monitor every class"),
        (torch.tensor([0, -100]), "target must be in 0 to 3 for 4 classes, got -100"),
    ],
)
def test_bad_targets_are_named_when_due(target: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Monitor(_net(), 4).begin(target)


@pytest.mark.parametrize(
    ("classes", "y", "message"),
    [
        (5, Y, r"logits must be \[N, K\] = \[12, 5\].*got \[12, 4\]"),
        (4, Y[:6], "target must hold one label for each example of the batch, got 6 labels for 12 examples"),
    ],
)
def test_logits_that_do_not_fit_are_named(classes: int, y: Tensor, message: str) -> None:
    model = _net()
    monitor = Monitor(model, classes)
    with pytest.raises(InputError, match=message), monitor.watch(y):
        model(X)
    assert not vars(model).keys() & {"forward", "outputs"}


def test_a_model_that_returns_something_else_is_named() -> None:
    class Odd(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            return {"scores": super().forward(x)}

    model = Odd(6, 4)
    with pytest.raises(InputError, match="model must return logits"), Monitor(model, 4).watch(Y):
        model(X)


def test_groups_without_trained_parameters_are_named() -> None:
    model = _net()
    for p in model[:4].parameters():
        p.requires_grad_(False)
    with pytest.raises(InputError, match="parameters='backbone' must hold a parameter that is trained"):
        _step(Monitor(model, 4), model, torch.optim.SGD(model.parameters(), 0.1))
    with pytest.raises(InputError, match="parameters must match at least one parameter, got 'body'"):
        _step(Monitor(model, 4, parameters="body"), model, torch.optim.SGD(model.parameters(), 0.1))


def test_a_model_that_is_never_called_is_named() -> None:
    model, other = _net(), _net()
    with pytest.raises(InputError, match="got no forward pass of Sequential"):
        _step(Monitor(other, 4), model, torch.optim.SGD(model.parameters(), 0.1))
