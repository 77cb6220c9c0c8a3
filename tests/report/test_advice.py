"""Every kind of advice from planted figures, and none from noise."""

import dataclasses
import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tailgrad.checks import InputError
from tailgrad.evaluate import Evaluation, evaluate, evaluate_predictions
from tailgrad.report.advice import Advice, advise, words
from tailgrad.types import ClassInfo

NAMES = ("a", "b", "c", "d", "e", "f")
COUNTS = (1000, 400, 160, 64, 25, 10)
NOTHING = "nothing to conclude"


def measured(excess: float | np.ndarray = 0.0, half: float = 0.2, **fields: Any) -> Any:
    """A measurement in which every pair has the same excess, or those of a matrix."""
    centre = np.broadcast_to(np.asarray(excess, dtype=float), (6, 6))
    given = {
        "class_names": NAMES,
        "counts": np.array(COUNTS),
        "primary": "backbone",
        "excess_interval": np.stack([centre - half, centre + half]),
        "loss": np.ones(6),
    }
    return SimpleNamespace(**{**given, **fields})


def predictions(share_kept: list[float], to: int = 0, images: int = 200) -> Evaluation:
    """A balanced test set of which the given share of each class is right, the rest going to one class."""
    target = np.repeat(np.arange(6), images)
    right = np.concatenate([np.arange(images) < share * images for share in share_kept])
    return evaluate_predictions(np.where(right, target, to), target, ClassInfo(NAMES, COUNTS), resamples=0)


UNBIASED = evaluate_predictions(
    np.roll(np.repeat(np.arange(6), 200), 40),
    np.repeat(np.arange(6), 200),
    ClassInfo(NAMES, COUNTS),
    resamples=0,
)  # each class passes 40 images to the next one and gets as many


def kinds(advice: list[Advice]) -> set[str]:
    return {one.kind for one in advice}


def remedies(advice: list[Advice], kind: str) -> list[str]:
    return [one.remedy for one in advice if one.kind == kind]


# Conflict


def test_conflict_beyond_noise_names_the_pair_and_the_remedies_in_order() -> None:
    excess = np.zeros((6, 6))
    excess[5, 0] = excess[0, 5] = -0.8
    advice = advise(measured(excess))
    assert kinds(advice) == {"conflict"}
    assert remedies(advice, "conflict")[:2] == ["csba", "class_heads"]
    assert "excess of f (rare) and a (frequent) on 'backbone' -1.000 to -0.600 (90 %)" in advice[0].reason
    assert "1 of 4 rare-frequent pairs" in advice[0].reason
    low, high, pairs = (advice[0].evidence[key] for key in ("excess_low", "excess_high", "pairs"))
    assert (low, high, pairs) == pytest.approx((-1, -0.6, 4))


def test_the_p_value_is_that_of_the_interval_corrected_for_the_pairs() -> None:
    excess = np.zeros((6, 6))
    excess[5, 0] = -0.6
    t = 0.6 / (0.2 / stats.t.ppf(0.95, 7))  # 8 folds
    assert advise(measured(excess))[0].evidence["p"] == pytest.approx(4 * 2 * stats.t.sf(t, 7))


@pytest.mark.parametrize(
    "interference",
    [
        measured(0.0),
        measured(0.8),  # rare and frequent classes that agree
        measured(np.where(np.eye(6), 0, -0.15)),  # intervals that reach over 0
        measured(-0.8, primary="head"),  # softmax competition lives there
        measured(-0.8, counts=np.full(6, 100)),  # no class is rare
        measured(-0.8, excess_interval=None),  # measured without intervals
    ],
)
def test_no_advice_on_conflict_inside_the_noise(interference: Any) -> None:
    (advice,) = advise(interference)
    assert (advice.kind, advice.strength) == (NOTHING, 0)


def test_conflict_between_frequent_classes_alone_is_no_matter_of_rarity() -> None:
    excess = np.zeros((6, 6))
    excess[0, 1] = excess[1, 0] = excess[4, 5] = excess[5, 4] = -0.9
    assert kinds(advise(measured(excess))) == {NOTHING}


def test_few_folds_need_a_wider_gap() -> None:
    few = measured(-0.4, counts=np.array([1000, 400, 160, 64, 2, 2]))
    assert kinds(advise(measured(-0.4))) == {"conflict"}
    assert kinds(advise(few)) == {NOTHING}


def test_noisy_pairs_alarm_at_most_once_in_twenty_measurements() -> None:
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(400):
        folds = random.normal(size=(8, 6, 6))
        mean, half = folds.mean(0), stats.t.ppf(0.95, 7) * folds.std(0, ddof=1) / np.sqrt(8)
        interval = np.stack([mean - half, mean + half])
        alarms += "conflict" in kinds(advise(measured(excess_interval=interval)))
    assert alarms <= 30  # 5 % of 400 and two and a half standard deviations


def test_more_classes_than_a_matrix_may_hold_are_no_crash() -> None:
    class Many(SimpleNamespace):
        @property
        def excess_interval(self) -> np.ndarray:
            raise InputError(
                "excess_interval must be read in tiles, got 3000 classes; use .block(rows, cols)"
            )

    fields = vars(measured())
    del fields["excess_interval"]
    for kind in (Many, SimpleNamespace):  # the latter stands for a result saved without intervals
        (advice,) = advise(kind(**fields))
        assert advice.reason == "No figure with an interval was measured."


# Prior bias


def test_predictions_that_lean_to_the_frequent_classes() -> None:
    advice = advise(None, predictions([1, 0.95, 0.9, 0.8, 0.7, 0.5]))
    assert kinds(advice) == {"prior bias"}
    assert remedies(advice, "prior bias") == ["logit_adjustment", "balanced_softmax", "class_weights"]
    gained, lost = 20 + 40 + 60 + 100, 0  # class b's errors stay within the frequent third
    evidence = advice[0].evidence
    assert evidence["predicted"] - evidence["true"] == gained - lost
    assert evidence["p"] == pytest.approx(2 * 0.5**gained)
    assert evidence["rank_correlation"] == pytest.approx(1)
    assert evidence["rank_p"] == pytest.approx(2 / 720)
    assert "predicted 620 times for 400 images (exact p < 0.001)" in advice[0].reason


def test_rare_classes_that_are_merely_hard_need_no_prior_correction() -> None:
    target = np.repeat(np.arange(6), 200)
    confused = np.where((target >= 4) & (np.arange(1200) % 2 == 0), 9 - target, target)  # e and f swap halves
    result = evaluate_predictions(confused, target, ClassInfo(NAMES, COUNTS), resamples=0)
    (advice,) = advise(None, result)
    assert advice.kind == NOTHING
    assert advice.evidence["prior bias: rank_correlation"] > 0.8
    assert kinds(advise(None, UNBIASED)) == {NOTHING}


def test_a_lean_to_the_rare_classes_or_balanced_training_is_no_prior_bias() -> None:
    assert kinds(advise(None, predictions([0.5, 0.7, 1, 1, 1, 1], to=5))) == {NOTHING}
    lean = predictions([1, 0.9, 0.8, 0.7, 0.6, 0.5])
    rows = tuple(dataclasses.replace(row, train_count=100) for row in lean.classes)
    assert kinds(advise(None, dataclasses.replace(lean, classes=rows))) == {NOTHING}


def test_two_classes_are_enough() -> None:
    target = np.repeat([0, 1], 100)
    result = evaluate_predictions([0] * 130 + [1] * 70, target, ClassInfo(("x", "y"), (90, 10)), resamples=0)
    advice = advise(None, result)
    assert kinds(advice) == {"prior bias"}
    assert "rank_p" in advice[0].evidence


def test_unbiased_guessing_alarms_at_most_once_in_twenty_evaluations() -> None:
    random = np.random.default_rng(1)
    target, info = np.repeat(np.arange(6), 20), ClassInfo(NAMES, COUNTS)
    alarms = 0
    for _ in range(300):
        found = evaluate_predictions(random.permutation(target), target, info, resamples=0)
        alarms += "prior bias" in kinds(advise(None, found))
    assert alarms <= 24


# Overfitting


def test_a_gap_that_grows_with_rarity() -> None:
    training = measured(loss=np.full(6, 0.1))
    heldout = measured(loss=np.array([0.2, 0.3, 0.5, 0.9, 1.6, 2.2]))
    advice = advise(heldout, training=training)
    assert kinds(advice) == {"overfitting"}
    evidence = advice[0].evidence
    assert (evidence["gap_rare"], evidence["gap_frequent"]) == pytest.approx((1.8, 0.15))
    assert evidence["p"] == pytest.approx(2 / 720)


@pytest.mark.parametrize(
    "loss",
    [
        [2.0, 1.6, 0.9, 0.5, 0.3, 0.2],  # the frequent classes overfit
        [0.5, 0.4, 0.6, 0.4, 0.5, 0.6],
        [0.01, 0.02, 0.03, 0.04, 0.05, 0.06],  # below the training loss
        [np.nan, np.nan, np.nan, np.nan, np.nan, 9.0],
        [0.2, np.nan, np.nan, np.nan, np.nan, 9.0],  # two classes cannot tell
    ],
)
def test_no_overfitting_of_the_rare(loss: list[float]) -> None:
    training = measured(loss=np.full(6, 0.1))
    assert kinds(advise(measured(loss=np.array(loss)), training=training)) == {NOTHING}


def test_the_rank_test_of_many_classes_agrees_with_scipy() -> None:
    random = np.random.default_rng(2)
    names = tuple(f"c{k}" for k in range(30))
    counts = np.geomspace(1000, 5, 30).astype(int)
    gaps = 0.5 - 0.08 * np.log(counts) + random.normal(0, 0.2, 30) + 1

    def of(loss: np.ndarray) -> Any:
        return measured(excess_interval=None, class_names=names, counts=counts, loss=loss)

    evidence = advise(of(gaps), training=of(np.zeros(30)))[0].evidence
    wanted = stats.spearmanr(counts, gaps)
    found = {key.split(": ")[-1]: value for key, value in evidence.items()}
    assert found["rank_correlation"] == pytest.approx(wanted.statistic)
    assert found["p"] == pytest.approx(wanted.pvalue, abs=0.01)


# Miscalibration


def scored(temperature: float, seed: int = 0, images: int = 1200) -> Evaluation:
    """Labels drawn from the softmax of some logits, and those logits sharpened."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(images, 6))
    odds = np.exp(logits)
    cumulative = np.cumsum(odds / odds.sum(1, keepdims=True), 1)
    target = (random.random((images, 1)) > cumulative[:, :5]).sum(1)
    return evaluate(logits / temperature, target, ClassInfo(NAMES, (100,) * 6), resamples=0)


def test_overconfidence_is_miscalibration_with_its_interval() -> None:
    result = scored(0.3)
    advice = advise(None, result)
    assert kinds(advice) == {"miscalibration"}
    assert remedies(advice, "miscalibration") == ["temperature_scaling", "label_smoothing"]
    evidence = advice[0].evidence
    assert 0 < evidence["ece_low"] < evidence["ece"] < evidence["ece_high"]
    assert evidence["ece"] == result.ece


def test_a_calibrated_model_alarms_at_most_once_in_twenty() -> None:
    found = [advise(None, scored(1.0, seed, 200)) for seed in range(100)]
    assert sum("miscalibration" in kinds(advice) for advice in found) <= 5
    assert found[0][0].evidence["miscalibration: ece"] > 0.02  # although it is not zero


def test_a_perfect_model_of_few_images_is_not_called_calibrated_or_not() -> None:
    target = np.arange(6)
    result = evaluate(np.eye(6)[target], target, ClassInfo(NAMES, (100,) * 6), resamples=0)
    assert NOTHING in kinds(advise(None, result))


# Too few samples


def test_pairs_that_cannot_be_told_from_noise_ask_for_examples_only() -> None:
    advice = advise(measured(np.full((6, 6), np.nan)))
    assert kinds(advice) == {NOTHING, "too few samples"}
    (remedy,) = remedies(advice, "too few samples")
    assert "collect more examples" in remedy
    assert "4 of 4 rare-frequent pairs" in advice[0].reason
    assert "with e, f." in advice[0].reason
    assert kinds(advise(measured(-0.3, half=0.6))) == {NOTHING, "too few samples"}  # too wide


def test_a_recall_that_is_hardly_known_asks_for_seeds_or_images() -> None:
    advice = advise(None, predictions([1, 1, 1, 1, 1, 0.5], images=4))
    assert remedies(advice, "too few samples") == ["repeat with more seeds or test images"]
    assert "too few samples" not in kinds(advise(None, UNBIASED))


# All of it


def everything() -> list[Advice]:
    heldout = measured(-0.8, loss=np.array([0.2, 0.3, 0.5, 0.9, 1.6, 2.2]))
    return advise(heldout, predictions([1, 0.95, 0.9, 0.8, 0.7, 0.5]), training=measured(loss=np.zeros(6)))


def test_the_strongest_evidence_comes_first_and_all_findings_are_told() -> None:
    advice = everything()
    assert kinds(advice) == {"conflict", "prior bias", "overfitting"}
    strengths = [one.strength for one in advice]
    assert strengths == sorted(strengths, reverse=True)
    assert min(strengths) > 1
    smallest = {one.kind: one.evidence["p"] for one in advice}
    assert list(dict.fromkeys(one.kind for one in advice)) == sorted(smallest, key=smallest.__getitem__)


def test_each_kind_must_clear_the_bar_after_correction_for_all_that_was_tested() -> None:
    training = measured(loss=np.zeros(6))
    gap = np.array([0.3, 0.2, 0.9, 0.5, 1.6, 2.2])
    alone = advise(measured(loss=gap, excess_interval=None), training=training)
    assert kinds(alone) == {"overfitting"}
    assert 0.025 < alone[0].evidence["p"] < 0.05
    assert kinds(advise(measured(loss=gap), training=training)) == {NOTHING}


def test_only_known_names_are_advised_in_their_own_spelling() -> None:
    assert remedies(advise(measured(-0.8), methods=["PC-Grad", "csba", "ce"]), "conflict") == [
        "csba",
        "PC-Grad",
    ]
    (advice,) = advise(measured(-0.8), methods=iter(["ce", "focal"]))
    assert (advice.kind, advice.remedy) == ("conflict", "")
    assert words([advice]).startswith("1. no method here yet (conflict): Rare and frequent")


def test_nothing_to_conclude_carries_the_figures() -> None:
    (advice,) = advise(measured(0.0), UNBIASED)
    assert advice.evidence["conflict: pairs_beyond"] == 0
    assert advice.evidence["prior bias: p"] == 1
    assert "-0.200 to +0.200 (90 %)" in advice.reason
    assert "Inside the noise" in advice.reason


def test_words_number_the_advice_and_cut_long_names() -> None:
    advice = advise(measured(-0.8, class_names=tuple("n" * 300 + str(k) for k in range(6))))
    lines = words(advice).splitlines()
    assert [line.split(".")[0] for line in lines] == ["1"]
    assert lines[0].startswith("1. csba, class_heads, upgrad")
    assert max(map(len, lines)) < 400
    everything_told = words(everything()).splitlines()
    assert [line.split(".")[0] for line in everything_told] == ["1", "2", "3"]


def test_names_may_come_once_and_serve_every_finding() -> None:
    names = ["csba", "logit_adjustment", "sam"]
    heldout = measured(-0.8, loss=np.array([0.2, 0.3, 0.5, 0.9, 1.6, 2.2]))
    lean = predictions([1, 0.95, 0.9, 0.8, 0.7, 0.5])
    advice = advise(heldout, lean, training=measured(loss=np.zeros(6)), methods=iter(names))
    assert sorted(one.remedy for one in advice) == sorted(names)


def test_rare_means_rare_in_training_and_not_among_the_images_measured() -> None:
    excess = np.zeros((6, 6))
    excess[5, 0] = -0.8
    even = {"counts": np.full(6, 100)}
    assert kinds(advise(measured(excess, **even))) == {NOTHING}
    assert kinds(advise(measured(excess, **even, train_counts=np.array(COUNTS)))) == {"conflict"}


def test_pairs_of_many_classes_are_tested_at_once() -> None:
    size = 600
    counts = np.arange(size, 0, -1) * 10
    centre = np.zeros((size, size))
    centre[size - 1, 0] = -3.0
    many = measured(
        class_names=tuple(map(str, range(size))),
        counts=counts,
        excess_interval=np.stack([centre - 0.2, centre + 0.2]),
        loss=1 / counts,
    )
    advice = advise(many, training=measured(**{**vars(many), "loss": np.zeros(size)}))
    assert kinds(advice) == {"conflict", "overfitting"}
    assert advice[-1].evidence["pairs"] == 200**2


def test_figures_are_plain_numbers() -> None:
    for one in everything():
        assert all(
            isinstance(value, int | float) for value in itertools.chain(one.evidence.values(), [one.strength])
        )


def test_inputs_that_do_not_belong_together() -> None:
    with pytest.raises(InputError, match="interference or evaluation must be given, got neither"):
        advise(None)
    other = measured(class_names=("u", *NAMES[1:]))
    with pytest.raises(InputError, match="interference must hold the classes of evaluation, got .'u'"):
        advise(other, UNBIASED)
    with pytest.raises(InputError, match="interference must hold the classes of training"):
        advise(other, training=measured())
