"""What every head owes, for each class that the folder exports."""

import inspect

import pytest
import torch
from torch import Tensor, nn

import tailgrad.heads as heads
from tailgrad.checks import InputError
from tailgrad.heads.init import kaiming_uniform
from tailgrad.heads.names import head_class, head_names

NAMES = head_names()
POOLED = ("cosine", "etf", "linear")
ALONE = (*POOLED, "se_gate")
ALL = (
    "branch_softmax",
    "branch_sum",
    "class_heads",
    "conflict_branches",
    "cosine",
    "csba",
    "etf",
    "linear",
    "se_gate",
    "wider_head",
)
C, K = 16, 5


def _build(name: str, *, grid: bool = True) -> nn.Module:
    cls = head_class(name)
    options = {"grid": grid} if "grid" in inspect.signature(cls).parameters else {}
    return cls(C, K, **options)


def test_names_are_the_exported_classes_in_snake_case() -> None:
    assert NAMES == ALL
    exported = {getattr(heads, name) for name in heads.__all__}
    assert {head_class(name) for name in NAMES} == {item for item in exported if inspect.isclass(item)}
    with pytest.raises(InputError, match="did you mean 'branch_sum'"):
        head_class("branchsum")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, C, 4, 5), (3, C, 7), (3, C)])
@pytest.mark.parametrize("training", [True, False])
def test_every_layout_gives_logits_and_gradients(name: str, shape: tuple[int, ...], training: bool) -> None:
    head = _build(name, grid=len(shape) == 4).train(training)
    features = torch.randn(shape, requires_grad=True)
    logits = head(features)
    assert logits.shape == (3, K)
    logits.square().sum().backward()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0
    assert all(p.grad is not None for p in head.parameters())


@pytest.mark.parametrize("name", [n for n in NAMES if n != "class_heads"])
def test_only_the_mean_over_positions_matters_outside_training(name: str) -> None:
    head = _build(name).double().eval()
    features = torch.randn(2, C, 4, 4, dtype=torch.float64)
    pooled = features.mean((2, 3))
    torch.testing.assert_close(head(features), head(pooled))
    torch.testing.assert_close(head(features.flatten(2)), head(pooled))


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_float32_inside_autocast_and_sums_do_not_lose_bits(name: str) -> None:
    head = _build(name).eval()
    features = torch.randn(4, C, 14, 14).bfloat16()
    with torch.no_grad():
        exact = head(features.float())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = head(features)
    assert logits.dtype == torch.float32
    # The convolutions of class_heads run in bfloat16; every other head works in float32 throughout.
    tolerance = 2e-2 if name == "class_heads" else 1e-6
    torch.testing.assert_close(logits, exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_in_bfloat16_work(name: str) -> None:
    head = _build(name).bfloat16()
    assert head(torch.randn(2, C, 4, 4).bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_start(name: str) -> None:
    for layer in _build(name).modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            bound = (6 / (1.0001 * layer.weight[0].numel())) ** 0.5
            assert 0.7 * bound < layer.weight.abs().max() <= bound * 1.000001
            assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize("name", NAMES)
def test_takes_and_branches_are_stated(name: str) -> None:
    head = _build(name)
    assert head.takes in {"map", "pooled"}
    assert (head.takes == "pooled") == (name in POOLED)
    if name not in ALONE:
        assert isinstance(head.branches, nn.ModuleList)
        assert len(head.branches) == (K if name == "class_heads" else 3)


@pytest.mark.parametrize("name", NAMES)
def test_bad_sizes_and_features_are_named(name: str) -> None:
    cls = head_class(name)
    with pytest.raises(InputError, match="num_classes must be in"):
        cls(C, 1)
    with pytest.raises(InputError, match="channels must be in"):
        cls(0, K)
    for sizes in ((C + 0.5, K), (C, K + 0.5)):
        with pytest.raises(InputError, match=r"must be a whole number, got \d+\.5"):
            cls(*sizes)
    with pytest.raises(InputError, match=r"got shape \[2, 9, 3, 3\]; build the head with channels=9"):
        _build(name)(torch.zeros(2, 9, 3, 3))
    for features, came in (([0.0] * C, "list"), (torch.zeros(2, C, 3, 3, dtype=torch.long), "torch.int64")):
        with pytest.raises(InputError, match=f"features must be a floating-point tensor, got {came}"):
            _build(name)(features)
    with pytest.raises(InputError, match="add the batch dimension"):
        _build(name)(torch.zeros(C))
    if name not in POOLED:
        with pytest.raises(InputError, match=r"dropout must be in .* got 1\.0"):
            cls(C, K, dropout=1.0)


def _map(name: str, n: int = 4) -> Tensor:
    shape = (n, C) if name in POOLED else (n, C, 4, 5)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [2, 1000])
def test_two_and_a_thousand_classes(name: str, classes: int) -> None:
    head = head_class(name)(C, classes)
    logits = head(_map(name))
    assert logits.shape == (4, classes)
    logits.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_examples_stand_apart_outside_training_however_large(name: str) -> None:
    head, features = _build(name).eval(), _map(name)
    alone = torch.cat([head(row[None]) for row in features])
    torch.testing.assert_close(head(features), alone, atol=1e-5, rtol=1e-5)
    assert torch.isfinite(head(features * 1e4)).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_state_and_the_seed_decide_all(name: str) -> None:
    head, other = _build(name), _build(name)
    other.load_state_dict(head.state_dict())
    for mode in (True, False):
        found = []
        for each in (head, other):
            torch.manual_seed(3)
            found.append(each.train(mode)(_map(name)))
        assert torch.equal(*found)


@pytest.mark.parametrize("name", NAMES)
def test_double_precision_and_channels_last(name: str) -> None:
    head, features = _build(name).eval(), _map(name)
    expected = head.double()(features.double())
    assert expected.dtype == torch.float64
    torch.testing.assert_close(head.float()(features).double(), expected, rtol=1e-4, atol=1e-4)
    if features.ndim == 4:
        last = features.double().contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(head.double()(last), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_moves_to_a_gpu(name: str) -> None:
    head = _build(name).eval()
    here = head(_map(name))
    torch.testing.assert_close(head.cuda()(_map(name).cuda()).cpu(), here, rtol=1e-3, atol=1e-3)


def test_slope_outside_its_range() -> None:
    with pytest.raises(InputError, match="slope must be in"):
        kaiming_uniform(nn.Linear(2, 2), slope=-0.1)
