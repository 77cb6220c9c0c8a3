"""The model and the world come back as they were, and bad input is refused in one clear sentence."""

import copy
import random
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tailgrad.checks import InputError
from tailgrad.interference import Extras, Update, measure
from tailgrad.interference.evaluation import evaluating

Net = tuple[nn.Module, Tensor, Tensor]
CPU = torch.device("cpu")


def _snapshot(model: nn.Module) -> tuple[object, ...]:
    return (
        [(name, m.training) for name, m in model.named_modules()],
        [
            (name, p.requires_grad, None if p.grad is None else p.grad.tolist())
            for name, p in model.named_parameters()
        ],
        {name: value.tolist() for name, value in model.state_dict().items()},
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        torch.is_grad_enabled(),
    )


def _unsettle(model: nn.Module) -> None:
    parameters = list(model.parameters())
    parameters[0].grad = torch.ones_like(parameters[0])
    parameters[1].requires_grad_(False)
    list(model.children())[-1].eval()


def _drawing(inputs: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for x, y in zip(inputs.split(7), target.split(7), strict=True):
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        yield x, y


def test_everything_is_left_as_it_was(network: Net) -> None:
    model, inputs, target = network
    _unsettle(model)
    before = _snapshot(model)
    with torch.no_grad():
        measure(model, _drawing(inputs, target))
    assert _snapshot(model) == before


def test_everything_is_left_as_it_was_after_an_error(network: Net) -> None:
    model, inputs, target = network
    _unsettle(model)

    def failing() -> Iterator[tuple[Tensor, Tensor]]:
        yield from _drawing(inputs, target)
        raise KeyboardInterrupt

    before = _snapshot(model)
    with pytest.raises(KeyboardInterrupt):
        measure(model, failing())
    with pytest.raises(InputError):
        measure(model, _drawing(inputs, target), criterion=lambda z, _: z.sum())
    assert _snapshot(model) == before


def test_a_shuffling_loader_neither_draws_from_the_global_generator_nor_changes_the_result() -> None:
    torch.manual_seed(5)
    model, data = (
        nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)),
        TensorDataset(torch.randn(40, 3), torch.arange(40) % 2),
    )
    state = torch.get_rng_state()
    one, other = (measure(model, DataLoader(data, 8, shuffle=True)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(one.conflict, other.conflict)


def test_nested_modes_are_restored_one_by_one() -> None:
    model = nn.Sequential(nn.Sequential(nn.Dropout(), nn.Dropout()), nn.Dropout())
    model[0].eval()
    model[0][1].train()
    before = [m.training for m in model.modules()]
    with evaluating([model], CPU):
        assert not any(m.training for m in model.modules())
    assert [m.training for m in model.modules()] == before


def test_autocast_changes_little(network: Net) -> None:
    model, inputs, target = network
    model, inputs = model.float(), inputs if inputs.dtype == torch.int64 else inputs.float()
    plain = measure(model, [(inputs, target)])
    with torch.autocast("cpu", torch.bfloat16):
        again = measure(model, [(inputs, target)])
    np.testing.assert_allclose(again.conflict, plain.conflict, atol=0.03)


def test_frozen_parameters_are_measured(network: Net) -> None:
    model, inputs, target = network
    expected = measure(model, [(inputs, target)])
    model.requires_grad_(False)
    np.testing.assert_array_equal(measure(model, [(inputs, target)]).conflict, expected.conflict)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_measured_in_a_float32_copy(dtype: torch.dtype, network: Net) -> None:
    model, inputs, target = network
    model = model.to(dtype)
    result = measure(model, [(inputs, target)])
    expected = measure(copy.deepcopy(model).float(), [(inputs, target)])
    np.testing.assert_array_equal(result.conflict, expected.conflict)
    assert {p.dtype for p in model.parameters()} == {dtype}


def test_float32_is_close_to_float64(network: Net) -> None:
    model, inputs, target = network
    exact = measure(model, [(inputs, target)])
    result = measure(model.float(), [(inputs, target)])
    np.testing.assert_allclose(result.conflict, exact.conflict, atol=1e-4)


def test_a_compiled_model_is_measured_uncompiled(perceptron: nn.Module) -> None:
    data = [(torch.randn(20, 6).double(), torch.arange(20) % 4)]
    with warnings.catch_warnings(action="ignore"):  # the compiler's own imports warn
        compiled = torch.compile(perceptron)
    result = measure(compiled, data)
    np.testing.assert_array_equal(result.conflict, measure(perceptron, data).conflict)
    assert list(result.layers) == ["0", "2"]


def test_a_class_without_gradient_has_a_nan_row(perceptron: nn.Module) -> None:
    data = [(torch.randn(20, 6).double(), torch.arange(20) % 4)]
    forgiving = lambda z, t: nn.functional.cross_entropy(z, t, reduction="none") * (t != 2)  # noqa: E731
    result, plain = measure(perceptron, data, criterion=forgiving), measure(perceptron, data)
    rest = [0, 1, 3]
    for matrix, reference in ((result.conflict, plain.conflict), (result.null, plain.null)):
        assert np.isnan(matrix[2]).all()
        assert np.isnan(matrix[:, 2]).all()
        np.testing.assert_allclose(matrix[np.ix_(rest, rest)], reference[np.ix_(rest, rest)], atol=1e-12)
    assert result.norms[2] == result.loss[2] == 0
    assert len(result.worst_pairs(99)) == 3
    assert "2" in result.summary().split("Not measurable")[1]


def test_a_label_never_seen_has_a_nan_row(perceptron: nn.Module) -> None:
    result = measure(perceptron, [(torch.randn(20, 6).double(), torch.arange(20) % 3)])
    assert np.isnan(result.conflict[3]).all()
    assert np.isnan(result.excess[:, 3]).all()
    assert np.isnan([result.norms[3], result.loss[3]]).all()
    assert np.isfinite([result.mean, result.std, result.mean_excess]).all()
    assert all(np.isnan(norms[3]) for norms in result.layer_norms.values())


def test_a_parameter_that_no_loss_reaches_gives_a_nan_layer(perceptron: nn.Module) -> None:
    perceptron.add_module("unused", nn.Linear(2, 2))
    perceptron.forward = lambda x: perceptron[2](perceptron[1](perceptron[0](x)))  # type: ignore[method-assign]
    result = measure(perceptron, [(torch.randn(20, 6).double(), torch.arange(20) % 4)])
    assert np.isnan(result.layers["unused"]).all()
    assert np.isfinite(result.conflict).all()
    np.testing.assert_array_equal(result.layer_norms["unused"], 0)


def test_a_group_that_no_loss_reaches_is_refused(perceptron: nn.Module) -> None:
    perceptron.add_module("unused", nn.Linear(2, 2))
    perceptron.forward = lambda x: perceptron[2](perceptron[1](perceptron[0](x)))  # type: ignore[method-assign]
    data = [(torch.randn(20, 6).double(), torch.arange(20) % 4)]
    for sketch in (0, 64):
        with pytest.raises(
            InputError, match="reached by the loss, got unused.weight, unused.bias which no loss"
        ):
            measure(perceptron, data, "unused.*", sketch=sketch)
    assert np.isfinite(measure(perceptron, data, "0.*").conflict).all()


def test_names_that_stand_twice_in_a_data_set_give_way_to_indices(perceptron: nn.Module) -> None:
    data = TensorDataset(torch.randn(8, 6).double(), torch.arange(8) % 4)
    for names, expected in ((list("abca"), ("0", "1", "2", "3")), (list("abcd"), ("a", "b", "c", "d"))):
        data.classes = names  # type: ignore[attr-defined]
        assert measure(perceptron, data).class_names == expected


def _nan_weight() -> nn.Module:
    model = nn.Linear(6, 4)
    nn.init.constant_(model.bias, float("nan"))
    return model


class _BrokenBackward(torch.autograd.Function):
    @staticmethod
    def forward(_: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_: object, gradient: Tensor) -> Tensor:
        return gradient * float("inf")


class _Returns(nn.Module):
    def __init__(self, change: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.linear, self.change = nn.Linear(6, 4), change

    def forward(self, x: Tensor) -> object:
        return self.change(self.linear(x))


BAD_MODELS = {
    "not a module": (lambda x: x, "must be a torch.nn.Module, got function"),
    "no parameters": (nn.ReLU(), "must have parameters, got ReLU"),
    "batch statistics": (
        nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 4)),
        r"'0' \(BatchNorm1d\) without running statistics",
    ),
    "tuple": (_Returns(lambda z: (z, z)), "got tuple; wrap its forward"),
    "map": (_Returns(lambda z: z[:, :, None]), r"got shape \[2, 4, 1\] for 2 inputs"),
    "one output": (_Returns(lambda z: z[:, :1]), r"with K >= 2, got shape \[2, 1\]"),
    "detached": (_Returns(lambda z: z.detach()), "linear.bias which no loss reaches"),
    "changing width": (_Returns(lambda z: z if len(z) == 2 else z[:, :3]), "must return 4 logits, got 3"),
    "narrow": (nn.Linear(6, 3), r"target must be in \[0, 3\), the model's logits, got 3"),
    "nan": (_nan_weight(), "loss must be finite, got nan for class 'a'"),
    "inf gradient": (_Returns(_BrokenBackward.apply), "NaN or infinity in 'linear.weight' for class 'a'"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_bad_model(case: str) -> None:
    model, message = BAD_MODELS[case]
    names = None if case == "narrow" else list("abcd")
    with pytest.raises(InputError, match=message):
        measure(model, [(torch.randn(20, 6), torch.arange(20) % 4)], "all", class_names=names)  # type: ignore[arg-type]


BAD_CRITERIA = {
    "mean": (nn.CrossEntropyLoss(), "reduction='mean'; build it with reduction=\"none\""),
    "scalar": (lambda z, _: z.sum(), r"one loss an example \[20\], got \[\]"),
    "number": (lambda *_: 0.0, "got float"),
    "matrix": (lambda z, _: z, r"got \[20, 4\]"),
    "detached": (lambda z, _: z.detach().sum(1), "a loss without a graph; remove no_grad"),
    "infinite": (lambda z, _: z.sum(1) / 0, "loss must be finite"),
    "features": (
        type("SupCon", (), {"takes": "features", "__call__": print})(),
        "got SupCon which takes 'features'",
    ),
    "text": ("focal", "criterion must be callable, got 'focal'"),
}


@pytest.mark.parametrize("case", BAD_CRITERIA)
def test_bad_criterion(case: str, perceptron: nn.Module) -> None:
    criterion, message = BAD_CRITERIA[case]
    with pytest.raises(InputError, match=message):
        measure(perceptron, [(torch.randn(20, 6), torch.arange(20) % 4)], criterion=criterion)  # type: ignore[arg-type]


def test_a_criterion_is_put_in_evaluation_mode(perceptron: nn.Module) -> None:
    class Stateful(nn.CrossEntropyLoss):
        def forward(self, z: Tensor, t: Tensor) -> Tensor:
            assert not self.training
            return super().forward(z, t)

    criterion = Stateful(reduction="none")
    measure(perceptron, [(torch.randn(20, 6), torch.arange(20) % 4)], criterion=criterion)
    assert criterion.training


@pytest.mark.parametrize(
    ("options", "target", "message"),
    [
        ({}, [0, 0, 0], "at least two classes, got only '0'"),
        ({"class_names": list("abc")}, [0, 1, 2], r"for each of 4 logits, got \['a', 'b', 'c'\]"),
        ({"class_names": "abcd"}, [0, 1, 2], "got 'abcd'"),
        ({"max_per_class": 0}, [0, 1, 2], r"max_per_class must be in \[1, inf\], got 0"),
        ({"folds": 1}, [0, 1, 2], "folds must be 0 or at least 2, got 1"),
        ({"folds": 2.5}, [0, 1, 2], r"folds must be a whole number, got 2\.5; 8 is usual"),
        ({"class_names": list("abca")}, [0, 1, 2], "class_names must differ .* got 'a' twice; rename one"),
        (
            {"extras": Extras(class_weights=[1, 1])},
            [0, 1, 2],
            r"class_weights must .* 4 classes, got shape \[2\]",
        ),
        ({"folds": -2}, [0, 1, 2], "folds must be 0 or at least 2, got -2"),
        ({"sketch": 63}, [0, 1, 2], "sketch must be at least 64 numbers, or 0 for exact gradients, got 63"),
        ({"sketch": 128.0}, [0, 1, 2], r"sketch must be at least 64 .* got 128\.0"),
        ({"sketch": -1}, [0, 1, 2], "sketch must be at least 64 .* got -1"),
        (
            {"extras": Extras(train_counts=[5, 2])},
            [0, 1, 2],
            r"one number for each of 4 classes, got shape \[2\]",
        ),
        ({}, [0, 1, -1], r"\[0, 4\), the model's logits, got -1"),
        ({}, [0, 1, 9], r"\[0, 4\), the model's logits, got 9"),
    ],
)
def test_bad_arguments(
    options: dict[str, object], target: list[int], message: str, perceptron: nn.Module
) -> None:
    with pytest.raises(InputError, match=message):
        measure(perceptron, [(torch.randn(3, 6), torch.tensor(target))], **options)  # type: ignore[arg-type]


def test_an_empty_pool_is_refused() -> None:
    with pytest.raises(InputError, match=r"null_examples must be in \[1, inf\], got 0"):
        Extras(null_examples=0)


@pytest.mark.parametrize("control", [False, True])
def test_progress_is_told_and_changes_nothing(perceptron: nn.Module, control: bool) -> None:
    torch.manual_seed(0)
    data = [(torch.randn(n, 6), torch.arange(n) % 4) for n in (30, 10)]
    told: list[tuple[str, int, int | None]] = []
    extras = Extras(control=control, progress=lambda *now: told.append(now))
    found, plain = measure(perceptron, data, extras=extras), measure(perceptron, data)
    np.testing.assert_array_equal(found.conflict, plain.conflict)
    np.testing.assert_array_equal(found.null, plain.null)
    examples = [done for part, done, of in told if part == "examples" and of is None]
    null = [(done, of) for part, done, of in told if part == "null"]
    assert examples.count(40) == 1
    assert examples[-1] == (4 * 9 if control else 40), "of every class as many as the rarest has"
    assert null.count((4, 4)) == 1 + control
    assert len(examples) + len(null) == len(told)
    first = examples[: examples.index(40) + 1]
    assert first == sorted(first)


@pytest.mark.parametrize("why", ["an update is set beside them", "a class-balanced control is asked for"])
def test_a_generator_that_would_be_read_twice_is_refused_before_it_is_read(
    why: str, perceptron: nn.Module
) -> None:
    pulled = []
    stream = (pulled.append(0) or (torch.randn(4, 6), torch.arange(4)) for _ in range(3))
    update = Update({name: torch.ones_like(p) for name, p in perceptron.named_parameters()})
    options: dict[str, object] = {"update": update} if "update" in why else {"extras": Extras(control=True)}
    with pytest.raises(InputError, match=f"readable twice where {why}, got a generator"):
        measure(perceptron, stream, **options)  # type: ignore[arg-type]
    assert pulled == []


@pytest.mark.parametrize("sketch", [0, 64])
def test_an_update_of_other_shapes_is_refused(sketch: int, perceptron: nn.Module) -> None:
    before = copy.deepcopy(perceptron.state_dict())
    delta = {name: torch.ones_like(p) for name, p in perceptron.named_parameters()}
    for wrong in (torch.ones(3), torch.ones(6, 16)):
        delta["0.weight"] = wrong.double()
        with pytest.raises(InputError, match=r"an update with other shapes: .* for '0.weight' of \[16, 6\]"):
            measure(
                perceptron, [(torch.randn(8, 6), torch.arange(8) % 4)], update=Update(delta), sketch=sketch
            )
    assert all(torch.equal(value, before[name]) for name, value in perceptron.state_dict().items())
