import math

import pytest
import torch

import tailgrad.losses as losses
from tailgrad.checks import InputError

CLASSES = [getattr(losses, name) for name in losses.__all__ if isinstance(getattr(losses, name), type)]
Z = torch.zeros(2, 3)


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
    ],
)
def test_every_loss_names_what_is_wrong(
    loss_class: type, logits: torch.Tensor, target: torch.Tensor, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        loss_class()(logits, target)


@pytest.mark.parametrize("loss_class", CLASSES)
def test_every_loss_keeps_the_contract(loss_class: type) -> None:
    assert loss_class.takes in {"logits", "features", "experts"}
    logits = torch.randn(4, 3, requires_grad=True)
    target = torch.tensor([0, 1, 2, 1], dtype=torch.int32)
    each = loss_class([5, 3, 1], weights="inverse", reduction="none")(logits, target)
    assert each.shape == (4,)
    total = loss_class([5, 3, 1], weights="inverse", reduction="sum")(logits, target)
    torch.testing.assert_close(each.sum(), total)
    batch = loss_class([5, 3, 1], weights="inverse", normalizer="batch")(logits, target)
    torch.testing.assert_close(each.mean(), batch)
    total.backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("loss_class", CLASSES)
def test_every_loss_refuses_logits_of_other_classes(loss_class: type) -> None:
    for loss in (loss_class([5, 3]), loss_class(weights=[1.0, 2.0])):
        with pytest.raises(InputError, match="each of the 2 classes counted or weighted, got 3"):
            loss(Z, torch.tensor([0, 1]))


@pytest.mark.parametrize("loss_class", CLASSES)
def test_every_loss_compiles_in_one_graph(loss_class: type) -> None:
    loss = loss_class([5, 3, 1], weights="effective")
    logits, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(logits, target), loss(logits, target))
