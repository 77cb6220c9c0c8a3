"""The measured null: exact where features cannot differ, close where labels are independent of the inputs."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from tailgrad.interference import Extras, measure, packs
from tailgrad.interference.backward import Backward
from tailgrad.interference.narrow_head import narrow_head
from tailgrad.interference.network import Network
from tailgrad.interference.null import Null, Reservoir, measure_null
from tailgrad.interference.observer import Seen
from tailgrad.interference.source import Order, opened

COUNTS = [1500, 300, 100, 30]


def test_null_equals_conflict_where_every_input_is_the_same(
    network: tuple[nn.Module, Tensor, Tensor],
) -> None:
    model, inputs, target = network
    result = measure(model, [(inputs[:1].expand_as(inputs), target)])
    for name, conflict in (result.layers | result.groups).items():
        null = result.layer_null.get(name, result.group_null.get(name))
        np.testing.assert_allclose(null, conflict, rtol=0, atol=1e-10, err_msg=name)
    np.testing.assert_allclose(result.excess, 0, atol=1e-10)


def test_the_null_tries_once_whether_the_network_can_be_split(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    attempt = Backward._try
    monkeypatch.setattr(Backward, "_try", lambda self, inputs: [tried.append(self), attempt(self, inputs)][1])
    monkeypatch.setattr(packs, "_CHUNK", 8)  # a pack for each class
    model, inputs, target = _blind_problem()
    measure(model, [(inputs[::10], target[::10])])
    data, null = (tried.count(one) for one in dict.fromkeys(tried))
    assert (data >= 1, null) == (True, 1)


def _blind_problem() -> tuple[nn.Module, Tensor, Tensor]:
    """Labels independent of the inputs, and a bias that has learnt the prior."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    with torch.no_grad():
        model[2].weight.mul_(0.1)
        model[2].bias.copy_(torch.tensor(COUNTS).log())
    target = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))
    return model, torch.randn(sum(COUNTS), 8) + 1, target


def test_null_explains_the_conflict_of_labels_independent_of_the_inputs() -> None:
    model, inputs, target = _blind_problem()
    result = measure(model, [(inputs, target)], extras=Extras(null_examples=800))
    head = measure(model, [(inputs, target)], "head", extras=Extras(null_examples=800))
    pairs = np.triu_indices(4, 1)
    for group in (result, head):
        assert np.abs(group.excess[pairs]).max() < 0.1
        assert np.abs(group.conflict[pairs] + 1 / 3).max() > 0.5  # the textbook null is far off
    residual = np.array(COUNTS) / sum(COUNTS) - np.eye(4)  # p - e_c once the bias has learnt the prior
    unit = residual / np.linalg.norm(residual, axis=1, keepdims=True)
    np.testing.assert_allclose(head.conflict, unit @ unit.T, atol=0.05)
    assert (head.null[0, 1:] < -0.4).all()  # the frequent class opposes the rare ones, which agree
    assert (head.null[1:, 1:] > 0).all()


def test_information_about_the_class_shows_as_excess() -> None:
    model, inputs, target = _blind_problem()
    blind = measure(model, [(inputs, target)]).excess
    moved = inputs + 6 * nn.functional.one_hot(target, 8)
    informed = measure(model, [(moved, target)]).excess
    assert np.abs(informed).max() > 3 * np.abs(blind).max()


@pytest.mark.parametrize("num_classes", [6, 10, 100])
def test_null_of_a_uniform_softmax(num_classes: int) -> None:
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, num_classes)).double()
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    inputs = torch.rand(2 * num_classes, 5, dtype=torch.float64)
    result = measure(
        model,
        [(inputs, torch.arange(2 * num_classes) % num_classes)],
        "head",
        extras=Extras(null_examples=num_classes),
    )
    off = result.null[~np.eye(num_classes, dtype=bool)]
    np.testing.assert_allclose(off, -1 / (num_classes - 1), rtol=1e-10)


def test_null_of_an_untrained_backbone_is_near_that_of_uniform_softmax() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 4096), nn.Tanh(), nn.Linear(4096, 6))
    result = measure(model, [(torch.randn(60, 20), torch.arange(60) % 6)])
    assert result.mean_null == pytest.approx(-0.2, abs=0.02)


def test_null_of_a_linear_head_is_the_cosine_of_mean_logit_gradients() -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 4).double()
    inputs, target = torch.randn(50, 5, dtype=torch.float64), torch.arange(50) % 4
    residual = model(inputs).softmax(1) - torch.eye(4)[target]
    means = torch.stack([residual[target == k].mean(0) for k in range(4)])
    unit = means / means.norm(dim=1, keepdim=True)
    result = measure(model, [(inputs, target)], "all")
    np.testing.assert_allclose(result.null, (unit @ unit.T).detach(), rtol=0, atol=1e-12)


def test_null_gradients_are_those_of_the_balanced_mean_logits() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    pool = Reservoir(size=9, seed=0)
    groups = {0: torch.randn(5, 3).double(), 2: torch.randn(2, 3).double()}
    for label, inputs in groups.items():
        pool(Seen(label, inputs, None))
    residuals = torch.randn(3, 3).double()
    balanced = (model(groups[0]).mean(0) + model(groups[2]).mean(0)) / 2
    rows = [
        torch.autograd.grad(balanced @ r, model[0].weight, retain_graph=True)[0].flatten() for r in residuals
    ]
    expected = torch.stack(rows) @ torch.stack(rows).T
    data = [(torch.cat(list(groups.values())), torch.tensor([0] * 5 + [2] * 2))]
    with opened(Network(model), data, "all", None, None, Order()) as source:
        null = measure_null(source, ["0.weight"], pool, residuals.numpy())
    np.testing.assert_allclose(null.gram(["0.weight"]), expected, rtol=1e-10)


def test_pool_is_drawn_evenly_and_by_seed() -> None:
    hits = np.zeros(20)
    for seed in range(300):
        pool = Reservoir(size=4, seed=seed)
        for part in torch.arange(20.0).split(7):
            pool(Seen(0, part, None))
        kept = torch.cat(pool.kept[0]).long().numpy()
        assert len(set(kept)) == 4
        hits[kept] += 1
    expected = 300 * 4 / 20
    assert np.abs(hits - expected).max() < 4.5 * np.sqrt(expected * 0.8)


def test_pool_keeps_all_of_a_small_class_with_equal_class_totals() -> None:
    pool = Reservoir(size=4, seed=0)
    pool(Seen(1, torch.tensor([100.0, 101.0]), None))
    pool(Seen(0, torch.arange(10.0), None))
    inputs, weights = pool.balanced(99)
    assert len({float(x) for x in inputs}) == 6
    expected = [1 / 4 if x >= 100 else 1 / 8 for x in inputs]
    torch.testing.assert_close(weights, torch.tensor(expected).double())


def test_a_small_pool_takes_classes_in_turn() -> None:
    pool = Reservoir(size=8, seed=0)
    for label in range(3):
        pool(Seen(label, torch.arange(10.0) + 100 * label, None))
    inputs, weights = pool.balanced(4)
    labels = [int(x) // 100 for x in inputs]
    assert sorted(np.bincount(labels).tolist()) == [1, 1, 2]
    for label in range(3):
        assert sum(w for w, k in zip(weights.tolist(), labels, strict=True) if k == label) == pytest.approx(
            1 / 3
        )


def test_the_pool_is_the_only_part_that_depends_on_the_seed(perceptron: nn.Module) -> None:
    data = [(torch.randn(200, 6).double(), torch.arange(200) % 4)]
    one, other, again = (
        measure(perceptron, data, extras=Extras(null_examples=12), seed=s) for s in (0, 1, 0)
    )
    np.testing.assert_array_equal(one.conflict, other.conflict)
    assert np.abs(one.null - other.null).max() > 1e-6
    np.testing.assert_array_equal(one.null, again.null)


def test_null_does_not_depend_on_how_the_pool_is_cut(
    network: tuple[nn.Module, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, inputs, target = network
    whole = measure(model, [(inputs, target)])
    monkeypatch.setattr(packs, "_CHUNK", 4)
    np.testing.assert_allclose(measure(model, [(inputs, target)]).null, whole.null, rtol=0, atol=1e-10)


def _measured_null(
    model: nn.Module, pool: Reservoir, residuals: np.ndarray, data: object, names: list[str]
) -> Null:
    with opened(Network(model), data, "all", None, None, Order()) as source:
        return measure_null(source, names, pool, residuals, most=99)


HEADS = {
    "wide head": lambda: nn.Linear(9, 5),
    "narrow head": lambda: nn.Linear(3, 5),
    "narrow head without bias": lambda: nn.Linear(3, 5, bias=False),
    "narrow normalised head": lambda: weight_norm(nn.Linear(3, 5)),
}


@pytest.mark.parametrize("head", HEADS)
def test_null_is_that_of_its_definition(head: str) -> None:
    torch.manual_seed(2)
    last = HEADS[head]()
    model = nn.Sequential(nn.Linear(4, last.in_features), nn.Tanh(), last).double()
    inputs, target = torch.randn(30, 4).double(), torch.arange(30) % 5
    pool = Reservoir(size=6, seed=0)
    for k in range(5):
        pool(Seen(k, inputs[target == k], None))
    residuals = torch.randn(5, 5).double()
    names = [name for name, _ in model.named_parameters()]
    null = _measured_null(model, pool, residuals.numpy(), [(inputs, target)], names)
    mean = model(inputs).mean(0)  # classes are of one size
    rows = [torch.autograd.grad(mean @ r, list(model.parameters()), retain_graph=True) for r in residuals]
    for i, name in enumerate(names):
        part = torch.stack([row[i].flatten() for row in rows])
        np.testing.assert_allclose(null.gram([name]), part @ part.T, rtol=1e-9, atol=1e-12, err_msg=name)
    whole = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    np.testing.assert_allclose(null.gram(names), whole @ whole.T, rtol=1e-9, atol=1e-12)
    assert (null.mixing.shape[1] == 3) == head.startswith("narrow head")


def test_a_head_that_computes_something_else_takes_no_short_cut() -> None:
    class Scaled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, self.weight.square(), self.bias)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(4, 3), nn.Linear(3, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.first(x) + self.head(self.first(x))[:, :3])

    torch.manual_seed(0)
    for model in (nn.Sequential(nn.Linear(4, 3), Scaled(3, 5)), Twice()):
        assert narrow_head(Network(model), torch.zeros(2, 4)) is None
    assert (
        narrow_head(Network(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 5))), torch.zeros(2, 4)) is not None
    )


def test_null_of_a_narrow_head_alone() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 5))
    data = [(torch.randn(40, 3), torch.arange(40) % 5)]
    result = measure(model, data, "head")
    gradient = nn.functional.softmax(model(data[0][0]), 1) - nn.functional.one_hot(data[0][1], 5)
    means = torch.stack([gradient[data[0][1] == k].mean(0) for k in range(5)])
    unit = nn.functional.normalize(means)
    np.testing.assert_allclose(result.null, (unit @ unit.T).detach(), atol=1e-5)
    assert result.null_error is None or np.abs(result.null_error).max() < 1e-6


def test_the_cheap_null_is_said() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 300), nn.Tanh(), nn.Linear(300, 260))
    result = measure(model, [(torch.randn(520, 4), torch.arange(520) % 260)], folds=0)
    assert any(note.startswith("The null is its cheap form") for note in result.notes)
    assert result.null.shape == (260, 260)
    assert result.null_error is None
