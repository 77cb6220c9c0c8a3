import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import tailgrad.losses as losses
from tailgrad.checks import InputError
from tailgrad.losses import (
    BalancedSoftmaxLoss,
    ClassConditionalSmoothing,
    CrossEntropyLoss,
    EqualizationLoss,
    FocalLoss,
    LabelAwareSmoothing,
    LDAMLoss,
    LogitAdjustedLoss,
    SeesawLoss,
    VSLoss,
)
from tailgrad.losses.targets import mix, of_labels, pick

COUNTS = [5, 3, 1]
CLASSES = [
    item
    for item in (getattr(losses, name) for name in losses.__all__)
    if isinstance(item, type) and item.takes == "logits" and item.soft_targets and not item.set_level
]
WEIGHTS: dict[str, Any] = {"weights": "inverse"}
LOSSES: list[tuple[Any, dict[str, Any]]] = [
    (CrossEntropyLoss, WEIGHTS | {"label_smoothing": 0.2}),
    (FocalLoss, WEIGHTS),
    (LDAMLoss, WEIGHTS),
    (LabelAwareSmoothing, WEIGHTS),
    (ClassConditionalSmoothing, WEIGHTS),
    (BalancedSoftmaxLoss, {}),
    (LogitAdjustedLoss, {"tau": 0.5}),
    (VSLoss, {}),
    (EqualizationLoss, {"threshold": 0.5}),
    (SeesawLoss, {"counting": "fixed"}),
]
Z = torch.zeros(2, 3)


def _batch(k: int = 3, n: int = 5, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(k)
    logits = 3 * torch.randn(n, k, generator=generator, dtype=dtype)
    return logits, torch.rand(n, k, generator=generator, dtype=dtype).softmax(1)


@pytest.mark.parametrize("loss_class", CLASSES)
@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        (Z, torch.tensor([0, 3]), r"target must be in 0..2, got target\[1\]=3"),
        (Z, torch.tensor([-1, 0]), r"target\[0\]=-1"),
        (Z, torch.tensor([0, 1, 2]), r"got torch.int64 \[3\]"),
        (Z, torch.tensor([[0], [1]]), r"got torch.int64 \[2, 1\]"),
        (Z, torch.tensor([True, False]), "got torch.bool"),
        (Z, torch.tensor([0.0, 1.0]), r"got torch.float32 \[2\]"),
        (Z, torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.4, 0.3]]), r"target\[1\]=\[0.5"),
        (Z, torch.tensor([[1.5, -0.5, 0.0], [1.0, 0.0, 0.0]]), r"target\[0\]=\[1.5, -0.5"),
        (Z, torch.tensor([[1.0, 0.0, 0.0], [math.nan, 0.0, 1.0]]), r"target\[1\]=\[nan"),
        (torch.zeros(2), torch.tensor([0, 1]), r"logits must be .* got torch.float32 \[2\]"),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), r"got torch.float32 \[0, 3\]"),
        (torch.zeros(2, 3, dtype=torch.long), torch.tensor([0, 1]), "got torch.int64"),
        (torch.zeros(2, 4), torch.tensor([0, 1]), "each of the 3 classes counted or weighted, got 4"),
    ],
)
def test_every_loss_names_what_is_wrong(
    loss_class: Any, logits: Tensor, target: Tensor, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        loss_class(COUNTS)(logits, target)


def test_weights_alone_know_the_number_of_classes() -> None:
    with pytest.raises(InputError, match="each of the 2 classes counted or weighted, got 3"):
        FocalLoss(weights=[1.0, 2.0])(Z, torch.tensor([0, 1]))


@pytest.mark.parametrize(("made", "options"), LOSSES)
@pytest.mark.parametrize("k", [2, 3, 60])
def test_probabilities_give_the_mean_of_the_losses_of_the_labels(
    made: Any, options: dict[str, Any], k: int
) -> None:
    logits, target = _batch(k)
    logits.requires_grad_()
    loss = made([(7 * j) % 19 + 1 for j in range(k)], **options, reduction="none")

    def value(y: Tensor) -> Tensor:
        torch.manual_seed(0)
        return loss(logits, y)

    found = value(target)
    expected = sum(target[:, j] * value(torch.full((5,), j)) for j in range(k))
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(v.sum(), logits)[0] for v in (found, expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("made", "options"), LOSSES)
@pytest.mark.parametrize("normalizer", ["weights", "batch"])
def test_one_hot_rows_and_any_integers_are_class_indices(
    made: Any, options: dict[str, Any], normalizer: str
) -> None:
    logits, _ = _batch()
    if "weights" in options:
        options = options | {"normalizer": normalizer}
    loss, target = made(COUNTS, **options).eval(), torch.tensor([0, 1, 2, 1, 0])
    torch.testing.assert_close(loss(logits, F.one_hot(target, 3).double()), loss(logits, target))
    assert torch.equal(loss(logits, target.to(torch.uint8)), loss(logits, target))


@pytest.mark.parametrize(("made", "options"), LOSSES)
@pytest.mark.parametrize("k", [2, 1000])
@pytest.mark.parametrize("soft", [False, True])
def test_hard_logits_keep_values_and_gradients_finite(
    made: Any, options: dict[str, Any], k: int, soft: bool
) -> None:
    size = 30.0 if made is LDAMLoss else 1e4
    logits = torch.zeros(3, k)
    logits[0, 0], logits[1, 1], logits[2] = size, -size, size
    logits.requires_grad_()
    loss = made([10**6, *range(1, k)], **options)
    for y in (0, 1, k - 1):
        target = torch.full((3,), y)
        value = loss(logits, F.one_hot(target, k).float() if soft else target)
        assert value.isfinite()
        assert torch.autograd.grad(value, logits)[0].isfinite().all()


@pytest.mark.parametrize(("made", "options"), LOSSES)
def test_one_loss_an_example_under_vmap(made: Any, options: dict[str, Any]) -> None:
    logits, _ = _batch()
    target = torch.tensor([0, 1, 2, 1, 0])
    loss = made(COUNTS, **options, reduction="sum").eval()
    found = torch.func.vmap(torch.func.grad(lambda z, y: loss(z[None], y[None])))(logits, target)
    leaf = logits.clone().requires_grad_()
    torch.testing.assert_close(found, torch.autograd.grad(loss(leaf, target), leaf)[0])


@pytest.mark.parametrize(("made", "options"), LOSSES)
def test_every_loss_compiles_in_one_graph(made: Any, options: dict[str, Any]) -> None:
    logits, soft = _batch(dtype=torch.float32)
    for target in (torch.tensor([0, 1, 2, 1, 0]), soft):
        loss = made(COUNTS, **options).eval()
        compiled = torch.compile(loss, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(logits, target), loss(logits, target))


def test_columns_of_labels_and_of_all() -> None:
    values, index = torch.arange(6.0).view(2, 3), torch.tensor([2, 0])
    rows = torch.tensor([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])
    assert of_labels(values, index).tolist() == [[2], [3]]
    assert of_labels(values[:1], index).tolist() == [[2], [0]]
    assert of_labels(values, rows) is values
    assert mix(of_labels(values, index), index).tolist() == pick(values, index).tolist() == [2, 3]
    assert pick(values, rows).tolist() == [1.5, 3]
