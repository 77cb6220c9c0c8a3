"""What every loss owes, for each class that the folder exports."""

import copy
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import CrossEntropyLoss, frozen
from tailgrad.recipes.components import components

LOSSES: dict[str, Any] = components("losses")
COUNTS = [50, 20, 5]
TARGET = [0, 1, 2, 0, 0, 1, 0]
D = 6

each = pytest.mark.parametrize("name", LOSSES)
few = settings(max_examples=8)


def has(name: str, what: str) -> bool:
    """Whether a loss states a class attribute as true."""
    return bool(getattr(LOSSES[name], what, False))


def build(name: str, class_counts: list[int] | None = COUNTS, /, **options: Any) -> Any:
    torch.manual_seed(7)  # learnt class vectors are drawn
    known = inspect.signature(LOSSES[name]).parameters
    vectors = torch.randn(D, len(class_counts or COUNTS))
    filled = {key: value for key, value in {"dim": D, "vectors": vectors}.items() if key in known}
    return LOSSES[name](class_counts, **{**filled, **options})


def shaped(name: str, logits: Tensor) -> Tensor:
    """Numbers [N, K] as what the loss takes, every one of them in use."""
    if LOSSES[name].takes == "experts":
        return torch.stack([logits, logits.roll(1, 0)])
    if LOSSES[name].takes == "features":
        wide = torch.cat([logits] * (-(-D // logits.shape[1])), 1)[:, :D]
        return torch.stack([wide, wide.roll(1, 1)]) if name in VIEWS else wide
    return logits.clamp(-30, 30) if name == "ldam" else logits  # cosines times 30


VIEWS = {name for name, item in LOSSES.items() if ", N, D]" in (inspect.getdoc(item.forward) or "")}
BLIND = {
    "nt_xent": "labels are not read: views of an image belong together",
    "sup_con": "labels are only compared with one another: no number of classes to go by",
}


def drawn(name: str, n: int = len(TARGET), classes: int = 3, scale: float = 1.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return shaped(name, scale * torch.randn(n, classes, generator=generator, dtype=torch.float64)).float()


def targets(name: str, labels: list[int] | Tensor, classes: int = 3) -> Tensor:
    labels = torch.as_tensor(labels)
    return F.one_hot(labels, classes) if has(name, "multi_label") else labels


def step(loss: Any, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient of one training step; random losses draw the same numbers each time."""
    torch.manual_seed(11)
    leaf = x.detach().clone().requires_grad_()
    value = loss(leaf, target)
    value.sum().backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def same_state(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


# Numbers


def _hard(kind: str, n: int, classes: int) -> Tensor:
    label = F.one_hot(torch.arange(n) % classes, classes).double()
    signs = torch.randn(n, classes, generator=torch.Generator().manual_seed(0)).sign().double()
    return {
        "zeros": 0 * label,
        "ordinary": 3 * signs * torch.linspace(0.1, 1, classes),
        "sure": 1e4 * (2 * label - 1),
        "sure and wrong": 1e4 * (1 - 2 * label),
        "signs": 1e4 * signs,
    }[kind]


@each
@pytest.mark.parametrize("kind", ["zeros", "ordinary", "sure", "sure and wrong", "signs"])
@pytest.mark.parametrize("classes", [2, 3, 1000])
def test_values_and_gradients_are_finite(name: str, kind: str, classes: int) -> None:
    for n, dtype in ((1, torch.float32), (5, torch.float32), (5, torch.bfloat16)):
        x, labels = shaped(name, _hard(kind, n, classes)).to(dtype), torch.arange(n) % classes
        rows = 0.9 * F.one_hot(labels, classes) + 0.1 / classes
        for target in [targets(name, labels, classes), rows][: 1 + has(name, "soft_targets")]:
            loss = build(name, list(range(1, classes + 1)))
            value, gradient = step(loss, x, target)
            assert value.shape == ()
            assert value.dtype == torch.float32
            assert value.isfinite(), (n, dtype)
            assert gradient.isfinite().all(), (n, dtype)
            assert all(p.grad is None or p.grad.isfinite().all() for p in loss.parameters())
            assert all(value.isfinite().all() for value in loss.state_dict().values())


HELD = {
    "dot_regression": "lengths of features are held constant",
    "seesaw": "the compensation is held constant",
}


@each
def test_gradients_are_derivatives_and_have_derivatives(name: str) -> None:
    """Class-wise curvature takes second ones; what a method holds constant by design stands in HELD."""
    x, target, loss = drawn(name).double(), targets(name, TARGET), build(name).double().eval()
    leaf = x.requires_grad_()
    assert name in HELD or torch.autograd.gradcheck(lambda z: loss(z, target), (leaf,))
    (slope,) = torch.autograd.grad(loss(leaf, target), leaf, create_graph=True)
    (bend,) = torch.autograd.grad(slope.square().sum(), leaf)
    assert bend.isfinite().all()


@each
def test_single_precision_inside_autocast(name: str) -> None:
    x, target = drawn(name).bfloat16(), targets(name, TARGET)
    expected, _ = step(build(name), x.float(), target)
    with torch.autocast("cpu", torch.bfloat16):
        found, gradient = step(build(name), x, target)
    assert found.dtype == torch.float32
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected)


@each
def test_double_precision_and_devices(name: str) -> None:
    x, target = drawn(name), targets(name, TARGET)
    expected, slope = step(build(name), x, target)
    wide, wide_slope = step(build(name).double(), x.double(), target)
    assert wide.dtype == wide_slope.dtype == torch.float64
    torch.testing.assert_close(wide.float(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(wide_slope.float(), slope, rtol=1e-4, atol=1e-5)
    assert torch.equal(step(build(name).to(torch.device("cpu")), x, target)[0], expected)


@each
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_moves_to_a_gpu(name: str) -> None:
    x, target = drawn(name), targets(name, TARGET)
    here, there = build(name).eval(), build(name).eval().to("cuda")
    assert all(value.is_cuda for value in there.state_dict().values())
    torch.testing.assert_close(
        step(there, x.cuda(), target.cuda())[0].cpu(), step(here, x, target)[0], rtol=1e-4, atol=1e-5
    )


# Reductions and targets


@each
def test_reductions_agree(name: str) -> None:
    x, target = drawn(name), targets(name, TARGET)
    if has(name, "set_level"):
        with pytest.raises(InputError, match="'none'"):
            build(name, reduction="none")
        return
    values, _ = step(build(name, reduction="none"), x, target)
    assert values.shape == (len(TARGET),)
    for reduction in ("mean", "sum"):
        found, _ = step(build(name, reduction=reduction), x, target)
        torch.testing.assert_close(found, getattr(values, reduction)())


@each
def test_one_hot_rows_equal_class_indices_or_are_refused(name: str) -> None:
    x = drawn(name).double()
    rows = F.one_hot(torch.tensor(TARGET), 3).double()
    if has(name, "soft_targets"):
        indexed, soft = build(name).double(), build(name).double()
        for _ in range(2):  # the second step stands on the state that the first one left
            torch.testing.assert_close(step(soft, x, rows), step(indexed, x, torch.tensor(TARGET)))
        return
    wrong = torch.tensor(TARGET) if has(name, "multi_label") else rows
    with pytest.raises(InputError, match=r"target.*;"):
        build(name)(x, wrong)
    with pytest.raises(InputError, match=r"target.*;"):
        build(name)(x, 0.9 * rows + 0.1 / 3)


@pytest.mark.parametrize("name", [n for n in LOSSES if has(n, "soft_targets") and not has(n, "set_level")])
@given(st.integers(0, 10_000))
@few
def test_soft_targets_mix_the_losses_of_the_classes(name: str, seed: int) -> None:
    x = drawn(name, 5, seed=seed).double()
    rows = torch.rand(5, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows = rows / rows.sum(1, keepdim=True)
    loss = build(name, reduction="none").double().eval()
    alone = torch.stack([loss(x, torch.full((5,), k)) for k in range(3)], 1)
    torch.testing.assert_close(loss(x, rows), (rows * alone).sum(1))


@each
def test_every_layout_of_the_same_numbers_will_do(name: str) -> None:
    x, target = drawn(name), targets(name, TARGET)
    expected, slope = step(build(name), x, target)
    before = x.clone()
    strided = x.transpose(-1, -2).contiguous().transpose(-1, -2)
    found, strided_slope = step(build(name), strided, target.int())
    torch.testing.assert_close((found, strided_slope), (expected, slope))
    assert torch.equal(strided, before)


# Order


@each
@given(st.integers(2, 6), st.integers(0, 10_000))
@few
def test_the_order_of_examples_does_not_matter(name: str, n: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels, order = torch.randint(3, (n,), generator=generator), torch.randperm(n, generator=generator)
    x, target, loss = drawn(name, n, seed=seed).double(), targets(name, labels), build(name).double().eval()
    across = 0 if LOSSES[name].takes == "logits" or x.ndim == 2 else 1
    torch.testing.assert_close(loss(x, target), loss(x.index_select(across, order), target[order]))


@each
@given(st.permutations([0, 1, 2]), st.integers(0, 10_000))
@few
def test_a_renaming_of_classes_changes_nothing(name: str, order: list[int], seed: int) -> None:
    """Parameters and fixed vectors of classes are renamed too; random draws (Equalization) rest in eval."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (7,), generator=generator)
    place = torch.tensor([order.index(k) for k in range(3)])
    x, loss, renamed = drawn(name, seed=seed).double(), build(name), build(name, [COUNTS[k] for k in order])
    with torch.no_grad():
        for mine, theirs in zip(loss.parameters(), renamed.parameters(), strict=True):
            theirs.copy_(mine[order])
        if hasattr(loss, "vectors"):
            renamed.vectors.copy_(loss.vectors[:, order])
    loss, renamed = loss.double(), renamed.double()
    moved = x if LOSSES[name].takes == "features" else x[..., order]
    expected = loss.eval()(x, targets(name, labels))
    torch.testing.assert_close(renamed.eval()(moved, targets(name, place[labels])), expected)


# State


@each
def test_the_seed_decides_all(name: str) -> None:
    first, second = build(name), copy.deepcopy(build(name))
    for seed in range(3):
        x, target = drawn(name, seed=seed), targets(name, TARGET)
        a, b = step(first, x, target), step(second, x, target)
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
    assert same_state(first, second)


@each
def test_a_stored_loss_goes_on_as_if_never_stopped(name: str) -> None:
    loss, restored = build(name), build(name)
    for seed in range(3):
        step(loss, drawn(name, seed=seed), targets(name, TARGET))
    restored.load_state_dict(loss.state_dict())
    for each_one in (loss, restored):
        if hasattr(each_one, "set_epoch"):
            each_one.set_epoch(2)
    x, target = drawn(name, seed=9), targets(name, TARGET)
    a, b = step(loss, x, target), step(restored, x, target)
    assert torch.equal(a[0], b[0])
    assert torch.equal(a[1], b[1])
    assert same_state(loss, restored)


def _second_pass(loss: Any, x: Tensor, target: Tensor) -> None:
    with frozen():
        step(loss, x + 0.05, target)


def _own_second_pass(loss: Any, x: Tensor, target: Tensor) -> None:
    with frozen(loss):
        step(loss, x - 0.05, target)


def _validation(loss: Any, x: Tensor, target: Tensor) -> None:
    with torch.no_grad():
        loss(x, target)  # the loop may leave a loss in training mode
        loss.eval()(x, target)
    step(loss, x, target)  # a measurement takes gradients
    loss.train()


@each
@pytest.mark.parametrize("extra", [_second_pass, _own_second_pass, _validation])
def test_passes_that_do_not_train_leave_no_trace(name: str, extra: Callable[..., None]) -> None:
    plain, watched = build(name), build(name)
    for seed in range(3):
        x, target = drawn(name, seed=seed), targets(name, TARGET)
        extra(watched, x, target)
        a, b = step(plain, x, target), step(watched, x, target)
        extra(watched, x, target)
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
    assert same_state(plain, watched)


@each
def test_a_loss_that_is_no_number_is_given_back_and_poisons_no_state(name: str) -> None:
    loss, x = build(name), drawn(name)
    assert loss((torch.nan * x).requires_grad_(), targets(name, TARGET)).isnan()
    assert all(buffer.isfinite().all() for buffer in loss.buffers())


@pytest.mark.parametrize(
    "name", [n for n in LOSSES if LOSSES[n].takes == "logits" and not has(n, "set_level")]
)
@pytest.mark.parametrize("soft", [False, True])
def test_function_transforms_give_gradients_and_leave_the_state(name: str, soft: bool) -> None:
    if soft and not has(name, "soft_targets"):
        return
    loss, x, target = build(name), drawn(name), targets(name, TARGET)
    target = F.one_hot(target, 3).float() if soft else target
    before = copy.deepcopy(loss)
    slope = torch.func.grad(lambda z, y: loss(z[None], y[None]))
    found = torch.func.vmap(slope, randomness="different")(x, target)
    assert found.isfinite().all()
    assert found.shape == x.shape
    assert same_state(loss, before)


GROWING = {
    "gala": {"accumulation": "double"},
    "group_dro": {"eta_q": 1e-3},
    "neural_collapse": {"warmup": 1000},
    "seesaw": {},
}


@pytest.mark.parametrize("name", GROWING)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cast_does_not_round_what_adds_up(name: str, dtype: torch.dtype) -> None:
    loss, cast = (build(name, **GROWING[name]) for _ in range(2))
    for seed in range(300):
        if seed == 10:
            cast = cast.to(dtype)
        for each_one in (loss, cast):
            step(each_one, drawn(name, seed=seed), targets(name, TARGET))
    assert same_state(loss, cast)
    assert cast.double().state_dict().keys() == loss.state_dict().keys()
    assert all(value.dtype in (torch.float64, torch.bool) for value in cast.buffers())


@each
def test_state_never_holds_a_graph(name: str) -> None:
    loss = build(name)
    step(loss, drawn(name), targets(name, TARGET))
    assert all(not buffer.requires_grad and buffer.grad_fn is None for buffer in loss.buffers())


# Reductions to cross-entropy

EQUAL_COUNTS = {
    "balanced_softmax": {},
    "logit_adjusted": {},
    "vs": {},
    "class_conditional_smoothing": {},
    "label_aware_smoothing": {},
    "equalization": {},
    "gala": {},
    "cross_entropy": {"weights": "inverse"},
}
ANY_COUNTS = {
    "asymmetric": {"smoothing": 0.0},
    "class_conditional_smoothing": {"eps_max": 0.0},
    "dual_focal": {"gamma": 0.0},
    "equalization": {"gamma": 0.0},
    "focal": {"gamma": 0.0},
    "gala": {"lambda1": 0.0},
    "label_aware_smoothing": {"head": 0.0},
    "ldam": {"max_margin": 0.0},
    "logit_adjusted": {"tau": 0.0},
    "seesaw": {"p": 0.0, "q": 0.0},
    "spectral_decoupling": {"penalty": 0.0},
    "vs": {"gamma": 0.0, "tau": 0.0},
}
REDUCED = [(n, o, True) for n, o in EQUAL_COUNTS.items()] + [(n, o, False) for n, o in ANY_COUNTS.items()]


@pytest.mark.parametrize(("name", "options", "equal"), REDUCED)
@given(st.lists(st.integers(1, 5000), min_size=3, max_size=3), st.integers(0, 10_000))
@few
def test_declared_reductions(name: str, options: Any, equal: bool, counts: list[int], seed: int) -> None:
    x, target = drawn(name, seed=seed).double(), torch.tensor(TARGET)
    loss = build(name, counts[:1] * 3 if equal else counts, **options)
    torch.testing.assert_close(
        step(loss, x, target), step(CrossEntropyLoss(), x, target), rtol=1e-6, atol=1e-7
    )


# Words


@each
def test_what_is_stated(name: str) -> None:
    item, loss = LOSSES[name], build(name)
    assert re.search(r"\[(\w, )?N", inspect.getdoc(item.forward) or ""), "no shapes"
    assert item.takes in {"logits", "features", "experts"}
    assert isinstance(item.soft_targets, bool)
    assert isinstance(item.set_level, bool)
    correction = loss.correction()
    assert correction is None or len(correction.log_shift) == 3
    assert correction is None or correction.kind in {"weight", "train_shift", "listed"}
    if hasattr(loss, "set_epoch"):
        with pytest.raises(InputError, match="got 0"):
            loss.set_epoch(0)


@each
def test_counts_are_asked_for_where_needed(name: str) -> None:
    try:
        loss = build(name, None)
    except InputError as error:
        assert "class_counts" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert step(loss, drawn(name), targets(name, TARGET))[0].isfinite()


@each
def test_numbers_that_do_not_fit_are_refused(name: str) -> None:
    x, target, loss = drawn(name), targets(name, TARGET), build(name)
    for wrong, labels in ((x[..., 0, 0], target), (x.long(), target), (x[..., :0, :], target[:0])):
        with pytest.raises(InputError, match=rf"got .*\[{', '.join(map(str, wrong.shape))}\]"):
            loss(wrong, labels)


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - BLIND))
def test_targets_that_do_not_fit_are_refused(name: str) -> None:
    x, target, loss = drawn(name), targets(name, TARGET), build(name)
    with pytest.raises(InputError, match=r"7.*got .*6"):
        loss(x, target[:-1])
    if not has(name, "multi_label"):
        for label in (3, -1):
            with pytest.raises(InputError, match=rf"target\[6\]={label}"):
                loss(x, torch.tensor([*TARGET[:-1], label]))


@each
def test_lists_in_the_place_of_tensors_are_refused(name: str) -> None:
    x, target, loss = drawn(name), targets(name, TARGET), build(name)
    with pytest.raises(InputError, match="must be a tensor, got list; use torch.as_tensor"):
        loss(x.tolist(), target)
    if name != "nt_xent":
        with pytest.raises(InputError, match="target must be a tensor, got list; use torch.as_tensor"):
            loss(x, target.tolist())


@pytest.mark.parametrize("name", [n for n in LOSSES if LOSSES[n].takes != "features"])
def test_another_number_of_classes_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="got 5"):
        build(name)(drawn(name, classes=5), targets(name, TARGET, 5))
