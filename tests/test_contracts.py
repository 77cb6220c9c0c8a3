"""What every exported component promises, derived from each folder's ``__all__``."""

import copy
import inspect
from importlib import import_module
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import tailgrad
from tailgrad.checks import InputError
from tailgrad.losses import frozen
from tailgrad.recipes.components import components, snake

FOLDERS = (
    "data",
    "augment",
    "heads",
    "losses",
    "models",
    "interference",
    "optim",
    "evaluate",
    "engine",
    "report",
    "recipes",
    "integrations",
)
HEADS = components("heads")
LOSSES = {name: item for name, item in components("losses").items() if issubclass(item, nn.Module)}
COUNTS = [50, 20, 5]


def _exported() -> list[tuple[str, str]]:
    return [(folder, name) for folder in FOLDERS for name in import_module(f"tailgrad.{folder}").__all__]


def _head(name: str, classes: int = 3, channels: int = 16) -> nn.Module:
    torch.manual_seed(0)
    return HEADS[name](channels, classes)


def _features(name: str, n: int = 4, channels: int = 16) -> Tensor:
    torch.manual_seed(1)
    takes_map = getattr(HEADS[name], "takes", "pooled") == "map"
    return torch.randn((n, channels, 4, 5) if takes_map else (n, channels))


# Everything exported


@pytest.mark.parametrize(("folder", "name"), _exported())
def test_exports_exist_and_are_documented(folder: str, name: str) -> None:
    item = getattr(import_module(f"tailgrad.{folder}"), name)
    if inspect.isclass(item) or inspect.isfunction(item):
        text = inspect.getdoc(item) or ""
        assert text.splitlines()[0].endswith("."), f"{name}: the first line is not a sentence"
        assert "Example" in text, f"{name} has no example"


@pytest.mark.parametrize("folder", FOLDERS)
def test_exports_are_sorted_and_unique(folder: str) -> None:
    names = import_module(f"tailgrad.{folder}").__all__
    assert len(names) == len(set(names))
    constants = [n for n in names if n.isupper() and len(n) > 1]
    assert sorted(names, key=lambda n: (n not in constants, not n[0].isupper(), n)) == list(names)


def test_the_top_level_names_resolve() -> None:
    for name in tailgrad.__all__:
        assert callable(getattr(tailgrad, name))
    assert set(tailgrad.__all__) <= set(dir(tailgrad))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tailgrad.nothing


@pytest.mark.parametrize("folder", ["heads", "losses", "augment"])
def test_a_component_lives_in_the_file_of_its_name(folder: str) -> None:
    for name, item in components(folder).items():
        stem = item.__module__.rsplit(".", 1)[1]
        assert stem in {name, snake(item.__name__)}, f"{item.__name__} lives in {stem}.py"


# Heads


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("classes", [2, 3, 1000])
@pytest.mark.parametrize("n", [1, 4])
def test_heads_give_logits(name: str, classes: int, n: int) -> None:
    head = _head(name, classes)
    logits = head(_features(name, n))
    assert logits.shape == (n, classes)
    logits.square().mean().backward()
    for key, parameter in head.named_parameters():
        assert parameter.grad is not None, f"{key} takes no part"
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("name", HEADS)
def test_heads_survive_large_features_and_half_precision(name: str) -> None:
    head, features = _head(name).eval(), _features(name)
    assert torch.isfinite(head(features * 1e4)).all()
    with torch.autocast("cpu", torch.bfloat16):
        half = head(features)
    assert half.shape == (4, 3)
    torch.testing.assert_close(half.float(), head(features), atol=0.1, rtol=0.1)


@pytest.mark.parametrize("name", HEADS)
def test_heads_treat_examples_apart_in_evaluation_mode(name: str) -> None:
    head, features = _head(name).eval(), _features(name)
    alone = torch.cat([head(features[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(head(features), alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_heads_round_trip_their_state_and_obey_the_seed(name: str) -> None:
    head, other = _head(name), HEADS[name](16, 3)
    other.load_state_dict(head.state_dict())
    features = _features(name)
    for mode in (True, False):
        head.train(mode), other.train(mode)
        torch.manual_seed(3)
        first = head(features)
        torch.manual_seed(3)
        assert torch.equal(first, other(features))


@pytest.mark.parametrize("name", HEADS)
def test_heads_in_double_precision_and_with_other_layouts(name: str) -> None:
    head, features = _head(name).double().eval(), _features(name).double()
    expected = head(features)
    assert expected.dtype == torch.float64
    if features.ndim == 4:
        torch.testing.assert_close(head(features.contiguous(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(("channels", "classes"), [(0, 3), (16, 0), (-1, 3)])
def test_heads_refuse_impossible_sizes(name: str, channels: int, classes: int) -> None:
    with pytest.raises((InputError, ValueError)) as caught:
        HEADS[name](channels, classes)
    assert str(min(channels, classes)) in str(caught.value)


# Losses


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("classes", [2, 3, 1000])
def test_losses_are_finite_with_finite_gradients(name: str, scale: float, classes: int) -> None:
    torch.manual_seed(0)
    loss = LOSSES[name](list(range(1, classes + 1)))
    logits = (torch.randn(5, classes) * scale).requires_grad_()
    value = loss(logits, torch.arange(5) % classes)
    value.backward()
    assert value.shape == ()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_say_what_they_take_and_what_they_correct(name: str) -> None:
    loss = LOSSES[name](COUNTS)
    assert loss.takes in {"logits", "features", "experts"}
    correction = loss.correction()
    assert correction is None or len(correction.log_shift) == 3


@pytest.mark.parametrize("name", LOSSES)
def test_reductions_agree(name: str) -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1])
    each = LOSSES[name](COUNTS, reduction="none")(logits, target)
    assert each.shape == (6,)
    torch.testing.assert_close(LOSSES[name](COUNTS, reduction="sum")(logits, target), each.sum())


@pytest.mark.parametrize("name", LOSSES)
@given(st.integers(2, 6), st.integers(0, 10_000))
def test_losses_do_not_care_about_the_order_of_examples(name: str, n: int, seed: int) -> None:
    torch.manual_seed(seed)
    logits, target = torch.randn(n, 3).double(), torch.randint(3, (n,))
    order = torch.randperm(n)
    loss = LOSSES[name](COUNTS)
    torch.testing.assert_close(loss(logits, target), loss(logits[order], target[order]))


@pytest.mark.parametrize("name", LOSSES)
@given(st.permutations([0, 1, 2]), st.integers(0, 10_000))
def test_losses_follow_a_renaming_of_classes(name: str, order: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    logits, target = torch.randn(7, 3).double(), torch.randint(3, (7,))
    place = torch.tensor([order.index(k) for k in range(3)])
    renamed = LOSSES[name]([COUNTS[k] for k in order])(logits[:, order], place[target])
    torch.testing.assert_close(LOSSES[name](COUNTS)(logits, target), renamed)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_compute_in_single_precision_under_autocast(name: str) -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1])
    loss = LOSSES[name](COUNTS)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(logits.bfloat16(), target)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(logits.bfloat16().float(), target))


@pytest.mark.parametrize("name", LOSSES)
def test_state_changes_only_in_training_steps(name: str) -> None:
    loss = LOSSES[name](COUNTS)
    logits, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1])
    before = copy.deepcopy(loss.state_dict())
    with torch.no_grad():
        loss(logits, target)
    with frozen(loss):
        loss(logits.clone().requires_grad_(), target).backward()
    loss.eval()
    loss(logits.clone().requires_grad_(), target).backward()
    for key, value in loss.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", LOSSES)
def test_one_hot_targets_equal_class_indices(name: str) -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(6, 3).double(), torch.tensor([0, 1, 2, 0, 0, 1])
    loss = LOSSES[name](COUNTS)
    torch.testing.assert_close(loss(logits, nn.functional.one_hot(target, 3).double()), loss(logits, target))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("counts", "logits", "target", "words"),
    [
        (COUNTS, (4, 3), [0, 1, 2, 3], "3"),
        (COUNTS, (4, 3), [0, 1, 2, -1], "-1"),
        (COUNTS, (4, 3), [0, 1, 2], "4"),
        (COUNTS, (4, 5), [0, 1, 2, 0], "5"),
        (COUNTS, (4,), [0, 1, 2, 0], "logits"),
    ],
)
def test_losses_refuse_what_they_cannot_take(
    name: str, counts: list[int], logits: tuple[int, ...], target: list[int], words: str
) -> None:
    loss: Any = LOSSES[name](counts, weights="inverse")
    with pytest.raises(InputError, match=words):
        loss(torch.randn(logits), torch.tensor(target))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("counts", [[5, 0, 3], [5, -1, 3]])
def test_losses_refuse_impossible_counts(name: str, counts: list[int]) -> None:
    with pytest.raises(InputError, match=r"class_counts\[1\]"):
        LOSSES[name](counts, weights="inverse")
