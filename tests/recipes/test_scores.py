"""What an epoch scores, against scikit-learn and PyTorch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torch import nn

from tailgrad.checks import InputError
from tailgrad.losses import AnyLoss, CrossEntropyLoss, FocalLoss, GALALoss
from tailgrad.recipes.scores import score
from tailgrad.types import ClassInfo

NAMES = ("cat", "dog", "emu", "fox")
INFO = ClassInfo(NAMES, (400, 90, 20, 4))


class OfFeatures(nn.Module):
    """A loss that does not take logits."""

    takes = "features"

    def forward(self, *_: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the training loss cannot be had from logits")


def drawn(seed: int, images: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    target = torch.cat([torch.arange(4), torch.randint(0, 4, (images - 4,), generator=random)])
    logits = torch.randn(images, 4, generator=random) + 1.2 * nn.functional.one_hot(target, 4)
    return logits, target


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(4, 200))
def test_figures_are_those_of_scikit_learn(seed: int, images: int) -> None:
    logits, target = drawn(seed, images)
    row = score(logits, target, INFO, CrossEntropyLoss())
    truth, guess = target.numpy(), logits.argmax(1).numpy()
    each = metrics.f1_score(truth, guess, average=None, labels=range(4), zero_division=0)
    assert row["val_macro_f1"] == pytest.approx(each.mean())
    assert row["val_accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess))
    assert row["val_balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, guess))
    assert row["val_worst_f1"] == pytest.approx(each.min())
    assert row["val_loss"] == pytest.approx(
        metrics.log_loss(truth, torch.softmax(logits.double(), 1), labels=range(4)), rel=1e-5
    )


@given(st.integers(0, 10_000))
def test_the_worst_class_is_the_one_named(seed: int) -> None:
    logits, target = drawn(seed, 24)
    row = score(logits, target, INFO, CrossEntropyLoss())
    alone = score(logits, target, INFO, CrossEntropyLoss(), focus=row["val_worst_class"])
    assert alone["val_focus_f1"] == row["val_worst_f1"]


@pytest.mark.parametrize("focus", NAMES)
def test_focus_is_the_f1_of_one_class_against_the_rest(focus: str) -> None:
    logits, target = drawn(1)
    row = score(logits, target, INFO, CrossEntropyLoss(), focus)
    k = NAMES.index(focus)
    wanted = metrics.f1_score((target == k).numpy(), (logits.argmax(1) == k).numpy())
    assert row["val_focus_f1"] == pytest.approx(wanted)
    assert "val_focus_f1" not in score(logits, target, INFO, CrossEntropyLoss())


def test_the_loss_is_the_one_of_training() -> None:
    logits, target = drawn(2)
    true = torch.softmax(logits, 1).gather(1, target[:, None])[:, 0]
    row = score(logits, target, INFO, FocalLoss(gamma=2.0))
    assert row["val_loss"] == pytest.approx(float((-((1 - true) ** 2) * true.log()).mean()), rel=1e-5)


def test_a_loss_of_features_is_replaced_by_cross_entropy() -> None:
    logits, target = drawn(3)
    row = score(logits, target, INFO, OfFeatures())
    true = torch.log_softmax(logits, 1).gather(1, target[:, None])
    assert row["val_loss"] == pytest.approx(-float(true.mean()), rel=1e-5)


def test_scoring_asks_for_no_gradient() -> None:
    logits, target = drawn(4)
    weight = nn.Parameter(torch.ones(()))

    class Scaled(nn.Module):
        def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            assert not torch.is_grad_enabled()
            return nn.functional.cross_entropy(weight * logits, target)

    row = score(logits, target, INFO, Scaled())
    assert row["val_loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, target)))
    assert all(isinstance(value, float | str) for name, value in row.items() if name != "val_recall")
    assert all(isinstance(value, float) for value in row["val_recall"].values())


@pytest.mark.parametrize("absent", [0, 3])
def test_a_class_without_validation_images_is_not_the_worst(absent: int) -> None:
    logits, target = drawn(5)
    kept = target != absent
    row = score(logits[kept], target[kept], INFO, CrossEntropyLoss())
    assert row["val_worst_class"] != NAMES[absent]
    present = [k for k in range(4) if k != absent]
    each = metrics.recall_score(
        target[kept].numpy(), logits[kept].argmax(1).numpy(), average=None, labels=range(4), zero_division=0
    )
    assert row["val_balanced_accuracy"] == pytest.approx(each[present].sum() / 4)


def test_perfect_and_hopeless_predictions() -> None:
    target = torch.arange(4).repeat(3)
    right = 20.0 * nn.functional.one_hot(target, 4)
    row = score(right, target, INFO, CrossEntropyLoss())
    assert (row["val_macro_f1"], row["val_worst_f1"], row["val_accuracy"]) == (1.0, 1.0, 1.0)
    assert row["val_loss"] < 1e-6
    wrong = score(right, (target + 1) % 4, INFO, CrossEntropyLoss())
    assert (wrong["val_macro_f1"], wrong["val_accuracy"]) == (0.0, 0.0)
    assert wrong["val_loss"] == pytest.approx(20.0, abs=1e-3)


def test_labels_outside_the_classes_are_refused() -> None:
    with pytest.raises(InputError, match="4"):
        score(torch.zeros(2, 4), torch.tensor([0, 4]), INFO, CrossEntropyLoss())


def test_shifting_logits_changes_nothing() -> None:
    logits, target = drawn(6)
    shifted = logits + torch.randn(len(logits), 1)
    before, after = (score(x, target, INFO, CrossEntropyLoss()) for x in (logits, shifted))
    assert after.pop("val_worst_class") == before.pop("val_worst_class")
    assert after.pop("val_recall") == pytest.approx(before.pop("val_recall"))
    assert after == pytest.approx(before, rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        CrossEntropyLoss([400, 90, 20, 4], weights="effective", defer=3),
        GALALoss([400, 90, 20, 4]),
        AnyLoss([400, 90, 20, 4], anneal_epochs=5),
    ],
    ids=["deferred", "accumulating", "annealed"],
)
def test_a_loss_that_changes_over_training_is_judged_by_cross_entropy(loss: nn.Module) -> None:
    logits, target = drawn(3)
    expected = float(nn.functional.cross_entropy(logits, target))
    assert score(logits, target, INFO, loss)["val_loss"] == pytest.approx(expected)
    fixed = FocalLoss([400, 90, 20, 4], weights="inverse")
    assert score(logits, target, INFO, fixed)["val_loss"] == pytest.approx(float(fixed(logits, target)))
