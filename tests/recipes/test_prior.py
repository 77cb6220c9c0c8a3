"""The ledger of a method, before training and in its result."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.losses import BalancedSoftmaxLoss, CrossEntropyLoss
from tailgrad.posthoc import ClassThresholds
from tailgrad.recipes import train
from tailgrad.recipes.after_training import make_chain
from tailgrad.recipes.compose import validate
from tailgrad.recipes.finish import with_tuned_thresholds
from tailgrad.recipes.prior import method_ledger
from tailgrad.types import ClassInfo

CLASSES = ClassInfo(("a", "b", "c"), (100, 10, 1))
TARGET = [0] * 100 + [1] * 10 + [2]
INVERSE = {"name": "cross_entropy", "options": {"weights": "inverse"}}
BALANCED = {"name": "class_balanced"}


def _prior(criterion: Any, /, **parts: Any) -> np.ndarray:
    config = validate({"source": "x", "train": {"batch_size": 4}, **parts})
    chain = make_chain(config, CLASSES.counts)
    return method_ledger(config, CLASSES, TARGET, dict.fromkeys(range(-1, 3), criterion), chain.steps).prior


WEIGHTED = CrossEntropyLoss(CLASSES.counts, weights="inverse")
UNIFORM = [1 / 3] * 3
NATURAL = [100 / 111, 10 / 111, 1 / 111]


@pytest.mark.parametrize(
    ("loss", "parts", "expected"),
    [
        (CrossEntropyLoss(), {}, NATURAL),
        (WEIGHTED, {"loss": INVERSE}, UNIFORM),
        (BalancedSoftmaxLoss(CLASSES.counts), {"loss": {"name": "balanced_softmax"}}, UNIFORM),
        (CrossEntropyLoss(), {"sampler": BALANCED}, UNIFORM),
        (CrossEntropyLoss(), {"posthoc": [{"name": "logit_adjustment"}]}, UNIFORM),
        # the last training decides: a balanced second stage after a natural first one
        (CrossEntropyLoss(), {"stages": [{"name": "crt", "sampler": BALANCED}]}, UNIFORM),
        # and what the first stage did is undone by a natural second one
        (CrossEntropyLoss(), {"sampler": BALANCED, "stages": [{"name": "again"}]}, NATURAL),
        (CrossEntropyLoss(), {"stages": [{"name": "filled", "features": "smote"}]}, UNIFORM),
        (CrossEntropyLoss(), {"stages": [{"name": "means", "kind": "ncm"}]}, UNIFORM),
        (CrossEntropyLoss(), {"stages": [{"name": "tau", "kind": "tau_norm"}]}, NATURAL),
        (CrossEntropyLoss(), {"sampler": BALANCED, "stages": [{"name": "m", "kind": "merge"}]}, NATURAL),
    ],
)
def test_one_correction_leaves_the_prior_that_it_should(
    loss: Any, parts: dict[str, Any], expected: list[float]
) -> None:
    np.testing.assert_allclose(_prior(loss, **parts), expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("loss", "parts"),
    [
        (WEIGHTED, {"sampler": BALANCED}),
        (WEIGHTED, {"posthoc": [{"name": "logit_adjustment"}]}),
        (BalancedSoftmaxLoss(CLASSES.counts), {"sampler": BALANCED}),
        (WEIGHTED, {"stages": [{"name": "crt", "sampler": BALANCED}]}),
        (WEIGHTED, {"stages": [{"name": "filled", "features": "smote"}]}),
        (
            CrossEntropyLoss(),
            {"stages": [{"name": "means", "kind": "ncm"}], "posthoc": [{"name": "logit_adjustment"}]},
        ),
    ],
)
def test_two_corrections_are_refused_unless_allowed(loss: Any, parts: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="corrected once") as caught:
        _prior(loss, **parts)
    assert "allow_double_correction" in str(caught.value)
    allowed = _prior(loss, **parts, allow_double_correction=True)
    assert allowed[2] > allowed[0]


def test_evenly_counted_classes_and_class_weights_are_two_corrections() -> None:
    with pytest.raises(InputError, match="combine pcgrad"):
        _prior(WEIGHTED, combine={"name": "pcgrad"}, train={"batch_size": 512})
    even = _prior(CrossEntropyLoss(), combine={"name": "pcgrad"}, train={"batch_size": 512})
    assert even[2] > 0.2


def test_a_double_correction_is_one_error_before_training(photos: Path, tmp_path: Path) -> None:
    method = {"name": "twice", "loss": INVERSE, "sampler": BALANCED}
    with pytest.raises(InputError, match=r"loss cross_entropy.*allow_double_correction"):
        train(
            photos,
            "quick",
            method=method,
            out=tmp_path / "run",
            overrides={"interference": {"enabled": False}},
        )
    assert not (tmp_path / "run").exists()


def _drawn(counts: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Log posteriors of Gaussian classes in a row under the mix of a long tail, with labels of a mix."""
    target = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    x = target + 0.6 * torch.randn(len(target), generator=torch.Generator().manual_seed(seed))
    prior = torch.tensor(TAIL) / sum(TAIL)
    return -((x[:, None] - torch.arange(3)) ** 2) / (2 * 0.6**2) + prior.log(), target, target


TAIL = (9000, 900, 90)


def test_thresholds_for_an_even_test_set_come_near_the_best_there_and_lose_nothing() -> None:
    """The best decision on even classes takes the prior off; what is tuned at the tail's mix stays behind."""
    info, even = ClassInfo(("a", "b", "c"), TAIL), _drawn((3000,) * 3, 1)
    tuned = with_tuned_thresholds({"val": _drawn(TAIL, 0), "test": even}, info)
    best = (even[0] - torch.tensor(TAIL).log()).argmax(1) == even[1]
    as_trained = even[0].argmax(1) == even[1]
    assert tuned["balanced_accuracy"] > float(best.float().mean()) - 0.01
    assert tuned["balanced_accuracy"] > float(as_trained.float().mean()) + 0.1
    of_the_tail = ClassThresholds(list(TAIL)).fit(*_drawn(TAIL, 0)[:2]).transform(even[0])
    at_the_tail = of_the_tail.argmax(1) == even[1]
    assert tuned["balanced_accuracy"] > float(at_the_tail.float().mean()) + 0.02


@pytest.mark.parametrize("mix", [(9000, 900, 90), (900, 90, 91), (50, 50, 51)])
def test_thresholds_for_a_test_set_that_is_not_even_are_tuned_for_macro_f1(mix: tuple[int, ...]) -> None:
    val, test = _drawn((4500, 450, 45), 2), _drawn(mix, 3)
    tuned = with_tuned_thresholds({"val": val, "test": test}, ClassInfo(("a", "b", "c"), TAIL))
    wanted = ClassThresholds(list(TAIL)).fit(*val[:2]).transform(test[0]).argmax(1)
    assert tuned["accuracy"] == pytest.approx(float((wanted == test[1]).float().mean()))


def test_the_result_holds_the_ledger(photos: Path, tmp_path: Path) -> None:
    small = {
        "data": {"size": 32, "near_duplicates": False},
        "model": {"name": "resnet8"},
        "train": {"epochs": 1, "batch_size": 8, "precision": "float32", "channels_last": False},
        "interference": {"enabled": False},
    }
    run = train(photos, "quick", method="balanced_softmax", overrides=small, out=tmp_path / "run")
    prior = run.result["prior"]
    assert [one["name"] for one in prior["components"]] == ["loss balanced_softmax"]
    np.testing.assert_allclose(prior["prior"], UNIFORM, rtol=1e-6)
    assert set(run.result["tuned"]) == {"macro_f1", "balanced_accuracy", "accuracy", "worst_f1"}
    assert "Class prior and thresholds" in run.report.read_text()
