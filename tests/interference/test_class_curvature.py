"""Ends of each class's Hessian spectrum, against dense Hessians and closed forms."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import functional
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from tailgrad.checks import InputError
from tailgrad.interference import held, lanczos
from tailgrad.interference.curvature import Curvature, curvature
from tailgrad.interference.gram import Array
from tailgrad.interference.hessian import ClassHessian, twice_differentiable
from tailgrad.interference.lanczos import ends
from tailgrad.interference.network import Network


def _flat_loss(
    model: nn.Module, inputs: Tensor, label: int, wanted: Callable[[str], bool] = bool
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The class's loss as a function of the flattened parameters, and where these stand."""
    model.eval()
    named = {name: p.detach() for name, p in model.named_parameters()}
    chosen = [name for name in named if wanted(name)]
    target = torch.full((len(inputs),), label)

    def loss(flat: Tensor) -> Tensor:
        pieces = torch.split(flat, [named[name].numel() for name in chosen])
        own = {name: piece.view_as(named[name]) for name, piece in zip(chosen, pieces, strict=True)}
        return F.cross_entropy(functional_call(model, named | own, (inputs,)), target)

    return loss, torch.cat([named[name].flatten() for name in chosen])


def _dense(model: nn.Module, inputs: Tensor, label: int, wanted: Callable[[str], bool] = bool) -> Array:
    """The class's Hessian, one row a backward pass."""
    # torch.func.hessian is no reference: its second derivative of LayerNorm is wrong (PyTorch 2.12)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        exact: Any = functional.hessian
        matrix: Array = exact(*_flat_loss(model, inputs, label, wanted)).numpy()
    return matrix


def _ends(matrix: Array) -> list[float]:
    values = np.linalg.eigvalsh(matrix)
    return [float(values[0]), float(values[-1])]


def _assert_same(result: Curvature, label: int, expected: list[float]) -> None:
    found = np.array([result.smallest[label], result.largest[label]])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
    errors = np.array([result.smallest_residual[label], result.largest_residual[label]])
    assert (np.abs(found - expected) <= errors + 1e-9).all()


def test_equals_the_dense_hessian(network: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, inputs, target = network
    result = curvature(model, list(zip(torch.split(inputs, 7), torch.split(target, 7), strict=True)))
    assert sum(p.numel() for p in model.parameters()) < 2000
    assert result.counts.tolist() == [15, 8, 6, 1]
    for label in (1, 3):
        _assert_same(result, label, _ends(_dense(model, inputs[target == label], label)))


@pytest.mark.parametrize("network", ["layer_norm", "attention"], indirect=True)
def test_products_equal_differences_of_gradients(network: tuple[nn.Module, Tensor, Tensor]) -> None:
    """Independent of any second derivative: (grad(theta + h v) - grad(theta - h v)) / 2h."""
    model, inputs, target = network
    mine, chosen = inputs[target == 0], list(model.parameters())
    loss, flat = _flat_loss(model, mine, 0)
    direction, step = torch.randn_like(flat), 1e-5

    def gradient(point: Tensor) -> Tensor:
        return torch.autograd.grad(loss(point), point)[0]

    up, down = ((flat + sign * step * direction).requires_grad_() for sign in (1, -1))
    expected = (gradient(up) - gradient(down)) / (2 * step)
    criterion = nn.CrossEntropyLoss(reduction="none")
    with twice_differentiable(flat.device):
        ours = ClassHessian(lambda x: (model(x), None), chosen, criterion, 0, [mine])(direction.numpy())
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-5, atol=1e-7)


def test_equals_the_dense_hessian_in_single_precision_after_training() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))
    inputs, target = torch.randn(90, 10), torch.arange(90) % 3
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss: Any = F.cross_entropy(model(inputs), target)
        loss.backward()
        optimizer.step()
    result = curvature(model, [(inputs, target)])
    for label in range(3):
        exact = _dense(model.double(), inputs[target == label].double(), label)
        model.float()
        found = np.array([result.smallest[label], result.largest[label]])
        np.testing.assert_allclose(found, _ends(exact), rtol=1e-3)
    assert result.saddles  # a tanh network this size is not convex
    assert set(result.saddles) == {str(k) for k in np.flatnonzero(result.smallest < 0)}


def test_linear_softmax_at_zero_weights() -> None:
    """There the Hessian is (I/K - 11'/K^2) kron (mean of x x'), with eigenvalues (second moments)/K and 0."""
    model = nn.Linear(12, 5, bias=False).double()
    nn.init.zeros_(model.weight)
    torch.manual_seed(1)
    inputs, target = torch.randn(40, 12).double(), torch.arange(40) % 4
    result = curvature(model, [(inputs, target)])
    for label in range(4):
        mine = inputs[target == label]
        moments = torch.linalg.eigvalsh(mine.T @ mine / len(mine))
        assert result.largest[label] == pytest.approx(moments[-1].item() / 5, rel=1e-6)
        assert abs(result.smallest[label]) < 1e-9
    assert result.saddles == ()
    assert np.isnan(result.largest[4])


def test_a_planted_saddle_is_named_and_its_depth_found() -> None:
    """logits (w0 x0, w1 x1, w0 w1 x2): at w = 0, class 2 has Hessian with off-diagonal -(1 - 1/3) x2."""

    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([self.w[0] * x[:, 0], self.w[1] * x[:, 1], self.w.prod() * x[:, 2]], 1)

    data = [(torch.tensor([[0.0, 0, 3], [1, 1, 0], [1, 1, 0]]).double(), torch.tensor([2, 0, 1]))]
    result = curvature(Product(), data, class_names=["a", "b", "rare"])
    assert result.smallest[2] == pytest.approx(-2)
    assert result.largest[2] == pytest.approx(2)
    assert result.saddles == ("rare",)
    text = result.summary()
    assert "1 of 3 classes" in text
    assert "rare -2" in text


def test_parameters_can_be_chosen(network: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, inputs, target = network
    last = list(dict(model.named_parameters()))[-2:]
    result = curvature(model, [(inputs, target)], lambda name, _: name in last)
    _assert_same(result, 0, _ends(_dense(model, inputs[target == 0], 0, lambda name: name in last)))
    assert result.parameters == "selected"
    assert result.smallest[0] > -1e-9  # cross-entropy is convex in the last layer


def test_class_and_data_order_do_not_matter(network: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, inputs, target = network
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    first = curvature(model, [(inputs, target)])
    second = curvature(model, [(inputs[order], target[order])])
    np.testing.assert_allclose(first.smallest, second.smallest, rtol=1e-6)
    np.testing.assert_allclose(first.largest, second.largest, rtol=1e-6)


def test_permuting_the_classes_permutes_the_result(perceptron: nn.Sequential) -> None:
    torch.manual_seed(2)
    inputs, target = torch.randn(40, 6).double(), torch.arange(40) % 4
    before = curvature(perceptron, [(inputs, target)])
    order = torch.tensor([2, 0, 3, 1])  # class c becomes order[c]
    with torch.no_grad():
        for p in perceptron[2].parameters():
            p[order] = p.clone()
    after = curvature(perceptron, [(inputs, order[target])])
    np.testing.assert_allclose(after.largest[order], before.largest, rtol=1e-6)
    np.testing.assert_allclose(after.smallest[order], before.smallest, rtol=1e-4)


def test_chunks_add_up(monkeypatch: pytest.MonkeyPatch, perceptron: nn.Module) -> None:
    data = [(torch.randn(50, 6).double(), torch.arange(50) % 2)]
    whole = curvature(perceptron, data)
    monkeypatch.setattr("tailgrad.interference.hessian._CHUNK", 4)
    parts = curvature(perceptron, data)
    np.testing.assert_allclose(parts.largest, whole.largest, rtol=1e-8)
    np.testing.assert_allclose(parts.smallest, whole.smallest, rtol=1e-4)


def test_a_class_without_examples_or_left_out_is_nan(perceptron: nn.Module) -> None:
    data = [(torch.randn(30, 6).double(), torch.arange(30) % 3)]
    names = ["ant", "bee", "cat", "dog"]
    result = curvature(perceptron, data, classes=["bee", np.int64(0)], class_names=names)
    assert result.counts.tolist() == [10, 10, 0, 0]
    for values in (result.smallest, result.largest, result.smallest_residual, result.largest_residual):
        assert np.isnan(values).tolist() == [False, False, True, True]
    everything = curvature(perceptron, data, class_names=names)
    assert np.isnan(everything.largest).tolist() == [False, False, False, True]
    np.testing.assert_array_equal(everything.largest[:2], result.largest[:2])


def test_max_per_class_draws_from_a_data_set_and_repeats(perceptron: nn.Module) -> None:
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(60, 6).double(), torch.arange(60) % 4)
    one, again, other = (curvature(perceptron, data, max_per_class=5, seed=s) for s in (0, 0, 1))
    assert one.counts.tolist() == [5] * 4
    np.testing.assert_array_equal(one.largest, again.largest)
    np.testing.assert_array_equal(one.smallest, again.smallest)
    assert (one.largest != other.largest).all()
    data.classes = ["a", "b", "c", "d"]  # type: ignore[attr-defined]
    assert curvature(perceptron, data, max_per_class=1).class_names == ("a", "b", "c", "d")


def test_reading_stops_once_every_class_is_full(perceptron: nn.Module) -> None:
    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        yield torch.randn(8, 6).double(), torch.arange(8) % 4
        raise AssertionError

    assert curvature(perceptron, stream(), max_per_class=2).counts.tolist() == [2] * 4


def test_the_model_comes_back_as_it_was(network: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, inputs, target = network
    frozen = next(iter(model.parameters())).requires_grad_(False)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    result = curvature(model, [(inputs, target)])
    assert torch.equal(torch.rand(3), expected)
    assert model.training
    assert not frozen.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert np.isfinite(result.largest).all()


def test_inputs_in_dictionaries_and_of_several_lengths() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(4, 2)

        def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
            logits: Tensor = self.head((self.embedding(tokens).tanh() * mask[..., None]).sum(1))
            return logits

    torch.manual_seed(0)
    model, tokens = Masked().double(), torch.randint(9, (8, 5))
    mask, target = (torch.arange(5) < torch.tensor([3, 5] * 4)[:, None]).double(), torch.arange(8) // 2 % 2
    short = torch.arange(0, 8, 2)
    data = [
        ({"tokens": tokens[rows, :width], "mask": mask[rows, :width]}, target[rows])
        for rows, width in ((short, 3), (short + 1, 5))
    ]
    padded = curvature(Network(model, lambda m, x: m(*x)), [((tokens, mask), target)])
    np.testing.assert_allclose(curvature(model, data).largest, padded.largest, rtol=1e-8)
    np.testing.assert_allclose(curvature(model, data).smallest, padded.smallest, rtol=1e-4)


def test_recurrent_networks() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            assert not torch.backends.cudnn.enabled  # it has no second derivative
            logits: Tensor = self.head(self.lstm(x)[0][:, -1])
            return logits

    torch.manual_seed(0)
    model, inputs = Recurrent().double(), torch.randn(6, 5, 3).double()
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=False):
        features = model.lstm(inputs)[0][:, -1]
        p = model.head(features).softmax(1)[:, :, None]
    logits = torch.diag_embed(p[..., 0]) - p @ p.mT  # Hessian of the loss with respect to the logits
    inner = torch.cat([features, torch.ones(6, 1)], 1).double()
    exact = sum(torch.kron(h, torch.outer(x, x)) for h, x in zip(logits, inner, strict=True)) / 6
    data = [(inputs, torch.zeros(6, dtype=torch.int64))]
    head = curvature(model, data, "head")
    assert head.largest[0] == pytest.approx(torch.linalg.eigvalsh(exact)[-1].item())
    assert curvature(model, data).largest[0] >= head.largest[0]  # a principal submatrix


def test_a_loss_that_is_linear_or_unreachable_has_no_curvature() -> None:
    model = nn.ModuleDict({"used": nn.Linear(6, 8), "unused": nn.Linear(6, 8)}).double()
    model.forward = model["used"].forward
    data = [(torch.randn(6, 6).double(), torch.arange(6) % 2)]

    def linear(logits: Tensor, target: Tensor) -> Tensor:
        return -logits[torch.arange(len(logits)), target]

    for parameters, criterion in (("unused.*", None), ("all", linear)):
        result = curvature(model, data, parameters, criterion=criterion)
        np.testing.assert_array_equal(result.smallest[:2], 0)
        np.testing.assert_array_equal(result.largest[:2], 0)
        assert result.saddles == ()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # from torch.func inside curvlinops
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")  # the same, from torch 2.15 on
def test_agrees_with_curvlinops(perceptron: nn.Module) -> None:
    """Where it can: through LayerNorm its products are wrong, through GroupNorm it has none."""
    curvlinops = pytest.importorskip("curvlinops")
    torch.manual_seed(0)
    inputs, vector = torch.randn(20, 6).double(), torch.randn(180).double()
    target, chosen = torch.full((20,), 1), list(perceptron.parameters())
    operator = curvlinops.HessianLinearOperator(
        perceptron,
        nn.CrossEntropyLoss(),
        chosen,
        list(zip(torch.split(inputs, 8), torch.split(target, 8), strict=True)),
    )
    ours = ClassHessian(
        lambda x: (perceptron(x), None), chosen, nn.CrossEntropyLoss(reduction="none"), 1, [inputs]
    )
    expected = (operator @ vector).detach().numpy()
    np.testing.assert_allclose(ours(vector.numpy()), expected, rtol=1e-9, atol=1e-12)


def test_a_cut_off_iteration_still_answers_and_says_so(
    monkeypatch: pytest.MonkeyPatch, perceptron: nn.Module
) -> None:
    monkeypatch.setattr(lanczos, "_RESTARTS", 1)
    monkeypatch.setattr(lanczos, "_TOLERANCE", 1e-14)
    torch.manual_seed(0)
    data = [(torch.randn(30, 6).double(), torch.arange(30) % 2)]
    rough = curvature(perceptron, data, class_names=["a", "b", "c", "d"])
    monkeypatch.undo()
    fine = curvature(perceptron, data)
    assert rough.notes == ("The iteration was cut off for a, b: read the residuals.",)
    assert rough.notes[0] in rough.summary()
    assert (np.abs(rough.largest - fine.largest) <= rough.largest_residual + 1e-6)[:2].all()
    assert (rough.largest <= fine.largest + 1e-6)[:2].all()
    assert fine.notes == ()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 80), st.integers(0, 1000), st.floats(-12, 6), st.integers(0, 80))
def test_ends_of_any_spectrum(size: int, seed: int, exponent: float, null: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(size) * 10.0**exponent
    values[: min(null, size)] = 0
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
    matrix = basis * values @ basis.T
    found = ends(lambda v: matrix @ v, size, seed)
    scale = np.abs(values).max()
    np.testing.assert_allclose(found.values, [values.min(), values.max()], atol=2e-4 * scale)
    assert (found.residuals <= 1e-3 * scale + 1e-300).all()


def test_positive_and_negative_definite_spectra_with_one_value_repeated() -> None:
    np.testing.assert_allclose(ends(lambda v: v, 50).values, 1, rtol=1e-9)
    np.testing.assert_allclose(ends(lambda v: -3 * v, 50).values, -3, rtol=1e-9)
    np.testing.assert_array_equal(ends(lambda v: 0 * v, 50).values, 0)


def test_json() -> None:
    model, data = nn.Linear(3, 3), [(torch.randn(8, 3), torch.arange(8) % 2)]
    tree = json.loads(json.dumps(curvature(model, data).to_dict()))
    assert tree["largest"][2] is None
    assert tree["counts"] == [4, 4, 0]
    assert tree["saddles"] == []
    assert "No class has negative curvature" in curvature(model, data).summary()


def test_a_long_list_of_saddles_is_cut() -> None:
    ones = np.ones(7)
    names = tuple("abcdefg")
    result = Curvature(names, np.ones(7, int), "all", -np.arange(1.0, 8), ones * 9, ones * 0, ones * 0)
    assert result.saddles == tuple("gfedcba")
    assert "c -3 +- 0, ...)" in result.summary()


class _Doubling(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: object, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(_ctx: object, gradient: Tensor) -> Tensor:
        return gradient * 2


class _Refusing(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_ctx: object, _gradient: Tensor) -> Tensor:
        raise RuntimeError(_Refusing.message)

    message = ""


class _BackwardRefusing(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_ctx: object, gradient: Tensor) -> Tensor:
        return _applied(_Refusing, gradient)


def _applied(function: Any, x: Tensor) -> Tensor:
    result: Tensor = function.apply(x)
    return result


class _Layer(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return _applied(self.function, x)


def _nan(logits: Tensor, _target: Tensor) -> Tensor:
    return logits.sum(1) * torch.nan


def _cusp(logits: Tensor, _target: Tensor) -> Tensor:
    return (logits - logits.detach()).abs().pow(1.5).sum(1)


_INPUTS, _TARGET = torch.ones(4, 3), torch.tensor([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_per_class": 0}, "max_per_class must be in"),
        ({"classes": [3]}, "classes must be class names or indices 0 to 2, got 3"),
        ({"classes": ["dgo"], "class_names": ["cat", "dog", "emu"]}, "did you mean 'dog'"),
        ({"classes": [2]}, "none of '2'"),
        ({"classes": []}, "at least one class"),
        ({"class_names": ["a"]}, "class_names must hold one name for each of 3"),
        ({"data": [(_INPUTS, _TARGET + 3)]}, "target must be in 0 to 2, got 3"),
        ({"data": []}, "data must hold at least one example"),
        ({"criterion": nn.CrossEntropyLoss()}, "one loss an example"),
        ({"criterion": lambda z, _: z}, r"one loss an example \[2\], got \[2, 3\]"),
        ({"criterion": lambda z, _: z.detach().sum(1)}, "loss without a graph for class 0"),
        ({"criterion": _nan}, "loss must be finite, got nan for class 0"),
        ({"criterion": _cusp}, "second derivative"),
        ({"parameters": "nothing.*"}, "parameters must match"),
        ({"model": nn.Sequential(nn.Linear(3, 3), _Layer(_Doubling))}, "twice differentiable"),
    ],
)
def test_bad_input_is_named(changes: dict[str, object], message: str) -> None:
    arguments = {"model": nn.Linear(3, 3), "data": [(_INPUTS, _TARGET)]} | changes
    with pytest.raises(InputError, match=message):
        curvature(**arguments)  # type: ignore[arg-type]


def test_examples_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "_HELD_BYTES", 40)
    with pytest.raises(InputError, match="lower max_per_class"):
        curvature(nn.Linear(3, 3), [(_INPUTS, _TARGET)])


@pytest.mark.parametrize(
    ("message", "kind"),
    [("out of luck", RuntimeError), ("derivative for aten::x is not implemented", InputError)],
)
def test_only_missing_derivatives_are_explained(
    monkeypatch: pytest.MonkeyPatch, message: str, kind: type[Exception]
) -> None:
    monkeypatch.setattr(_Refusing, "message", message)
    with pytest.raises(kind, match=message):
        curvature(nn.Sequential(nn.Linear(3, 3), _Layer(_BackwardRefusing)), [(_INPUTS, _TARGET)])
