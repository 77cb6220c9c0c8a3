"""Conformal sets against the quantile of split conformal prediction, by simulation, and on hard input."""

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tailgrad import InputError
from tailgrad.evaluate import clopper_pearson, conformal, images_needed, prediction_sets
from tailgrad.evaluate.conformal import categories, cumulative, limits
from tailgrad.evaluate.softmax import softmax

Part = tuple[np.ndarray, np.ndarray]


def drawn(random: np.random.Generator, sizes: tuple[int, ...], skill: tuple[float, ...]) -> Part:
    """Probabilities and classes, where a class's own logit stands out by its skill."""
    target = np.repeat(np.arange(len(sizes)), sizes)
    logits = random.normal(size=(len(target), len(sizes)))
    logits[np.arange(len(target)), target] += np.array(skill)[target]
    return softmax(logits), target


def quantile_sets(calibration: Part, p: np.ndarray, category: list[int], alpha: float) -> np.ndarray:
    """The textbook rule: 1 - p at most the ceil((n + 1)(1 - alpha))-th smallest score of the category."""
    seen, own = calibration
    score = 1 - seen[np.arange(len(own)), own]
    columns = []
    for k, one in enumerate(category):
        known = np.sort(score[np.array([category[y] == one for y in own], dtype=bool)])
        rank = int(np.ceil(round((len(known) + 1) * (1 - alpha), 9)))
        limit = np.inf if rank > len(known) else known[rank - 1]
        columns.append(1 - p[:, k] <= limit)
    return np.stack(columns, 1)


@given(
    seed=st.integers(0, 999),
    sizes=st.lists(st.integers(0, 12), min_size=2, max_size=4).filter(sum),
    alpha=st.sampled_from([0.05, 0.1, 0.2, 0.25, 0.5]),
    way=st.sampled_from(["marginal", "thirds", "class"]),
)
@settings(max_examples=60, deadline=None)
def test_sets_are_those_of_the_conformal_quantile(
    seed: int, sizes: list[int], alpha: float, way: Any
) -> None:
    random = np.random.default_rng(seed)
    calibration = drawn(random, tuple(sizes), (1.0,) * len(sizes))
    p, _ = drawn(random, (5,) * len(sizes), (1.0,) * len(sizes))
    category = categories(way, range(9, 9 - len(sizes), -1)).tolist()
    found = prediction_sets(calibration, p, category, alpha)
    np.testing.assert_array_equal(found, quantile_sets(calibration, p, category, alpha))


def test_sets_are_those_that_crepes_makes_image_by_image() -> None:
    from crepes import ConformalClassifier
    from crepes.extras import hinge

    random = np.random.default_rng(3)
    (seen, own), (p, _) = drawn(random, (20, 15, 11), (1, 1, 1)), drawn(random, (9, 9, 9), (1, 1, 1))
    fitted = ConformalClassifier().fit(hinge(seen, np.arange(3), own), bins=own)
    wanted = [
        fitted.predict_p(hinge(p)[:, k], bins=np.full(len(p), k), smoothing=False) > 0.13 for k in range(3)
    ]
    np.testing.assert_array_equal(prediction_sets((seen, own), p, [0, 1, 2], 0.13), np.stack(wanted, 1))


@pytest.mark.parametrize("score", ["hinge", "cumulative"])
def test_coverage_holds_over_draws_and_by_class_where_one_limit_fails(score: Any) -> None:
    random, alpha, draws = np.random.default_rng(0), 0.2, 60
    skill, sizes, counts = (3.0, 2.0, 0.2), (40, 20, 12), (900, 90, 9)
    hits = {way: np.zeros(3) for way in ("marginal", "class")}
    whole = dict.fromkeys(hits, 0.0)
    for _ in range(draws):
        calibration, test = drawn(random, sizes, skill), drawn(random, sizes, skill)
        for way in hits:
            found = conformal(calibration, test, counts, way, alpha, score)
            hits[way] += [one.value * n for one, n in zip(found.by_class, sizes, strict=True)]
            whole[way] += found.coverage.value * sum(sizes)
    for way, hit in whole.items():  # at least 1 - alpha, up to chance
        assert hit >= stats.binom.ppf(1e-4, draws * sum(sizes), 1 - alpha), way
    # calibration images are shared within a draw: their chance is wider than the binomial's
    for k, n in enumerate(sizes):
        chance = 4 * np.sqrt(alpha * (1 - alpha) / draws * (1 / n + 1 / n))
        assert hits["class"][k] / (draws * n) >= 1 - alpha - chance
        assert hits["class"][k] / (draws * n) <= 1 - alpha + 1 / (n + 1) + chance
    assert hits["marginal"][2] / (draws * sizes[2]) < 1 - alpha - 0.1


def test_by_class_the_promise_survives_another_mix_of_classes() -> None:
    random, draws = np.random.default_rng(5), 60
    covered = {"marginal": 0.0, "class": 0.0}
    for _ in range(draws):
        calibration = drawn(random, (60, 20), (2.5, 0.3))
        test = drawn(random, (20, 60), (2.5, 0.3))
        for way in ("marginal", "class"):
            covered[way] += conformal(calibration, test, (60, 20), way, 0.1).coverage.value / draws
    assert covered["marginal"] < 0.86
    assert covered["class"] > 0.89


@given(seed=st.integers(0, 99), alphas=st.tuples(st.floats(0.02, 0.9), st.floats(0.02, 0.9)))
@settings(max_examples=40, deadline=None)
def test_a_smaller_alpha_never_makes_a_set_smaller(seed: int, alphas: tuple[float, float]) -> None:
    random = np.random.default_rng(seed)
    calibration, (p, _) = drawn(random, (15, 8), (1, 1)), drawn(random, (6, 6), (1, 1))
    wide, narrow = (prediction_sets(calibration, p, [0, 1], alpha) for alpha in sorted(alphas))
    assert (wide | ~narrow).all()


@pytest.mark.parametrize("alpha", [0.5, 0.25, 0.2, 0.1, 0.05, 0.01, 0.3])
def test_a_class_with_too_few_images_is_always_in_and_says_so(alpha: float) -> None:
    needed = images_needed(alpha)
    assert 1 / (needed + 1) <= alpha + 1e-12
    assert needed == 1 or 1 / needed > alpha
    random = np.random.default_rng(0)
    calibration = drawn(random, (needed, needed - 1, 2 * needed), (2, 2, 2))
    test = drawn(random, (5, 5, 5), (0, 0, 0))
    found = conformal(calibration, test, (9, 5, 3), "class", alpha)
    assert found.always == (False, True, False)
    assert found.calibration == (needed, needed - 1, 2 * needed)
    assert prediction_sets(calibration, test[0], [0, 1, 2], alpha)[:, 1].all()
    assert found.by_class[1].value == 1


def test_figures_are_counted_from_the_sets() -> None:
    random = np.random.default_rng(2)
    calibration, test = drawn(random, (30, 20, 10), (2, 1, 0)), drawn(random, (12, 10, 0), (2, 1, 0))
    found = conformal(calibration, test, (30, 20, 10), "thirds", 0.2)
    sets = prediction_sets(calibration, test[0], [0, 1, 2], 0.2)
    hit = sets[np.arange(22), test[1]]
    assert found.coverage == clopper_pearson(int(hit.sum()), 22)
    assert found.by_class[0] == clopper_pearson(int(hit[:12].sum()), 12)
    assert (found.by_class[2].low, found.by_class[2].high, found.size_by_class[2]) == (0.0, 1.0, None)
    assert found.groups["head"] == found.by_class[0]
    assert found.size.value == pytest.approx(sets.sum(1).mean())
    assert found.size_by_class[1] == pytest.approx(sets[12:].sum(1).mean())
    assert (found.empty, found.single) == ((sets.sum(1) == 0).mean(), (sets.sum(1) == 1).mean())


def test_cumulative_score_adds_everything_at_least_as_likely() -> None:
    random = np.random.default_rng(0)
    p = random.dirichlet(np.ones(5), 20)
    p[0] = [0.2, 0.2, 0.2, 0.2, 0.2]
    wanted = [[row[row >= one].sum() for one in row] for row in p]
    np.testing.assert_allclose(cumulative(p), wanted, atol=1e-12)


@pytest.mark.parametrize(("successes", "total"), [(0, 7), (7, 7), (3, 10), (1, 200)])
def test_exact_interval_is_scipys(successes: int, total: int) -> None:
    wanted = stats.binomtest(successes, total).proportion_ci(0.95, method="exact")
    found = clopper_pearson(successes, total)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_exact_interval_refuses_what_cannot_be() -> None:
    assert clopper_pearson(0, 0).high == 1
    with pytest.raises(InputError, match="successes must be in"):
        clopper_pearson(3, 2)
    with pytest.raises(InputError, match="level must be in"):
        clopper_pearson(1, 2, 1.0)


PART = drawn(np.random.default_rng(0), (6, 3), (1, 1))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"alpha": 0.0}, r"alpha must be in \(0, 1\), got 0.0"),
        ({"alpha": 1.0}, r"alpha must be in \(0, 1\), got 1.0"),
        ({"alpha": 0.09}, "alpha must be at least 0.1 with 9 validation images, got 0.09"),
        ({"score": "hing"}, "score must be a known name, got 'hing'; did you mean 'hinge'"),
        ({"way": "clas"}, "way must be a known name, got 'clas'; did you mean 'class'"),
    ],
)
def test_bad_options_are_named(words: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        conformal(PART, PART, (6, 3), **{"way": "marginal", **words})


def test_without_crepes_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crepes", None)
    monkeypatch.setitem(sys.modules, "crepes.extras", None)
    with pytest.raises(InputError, match=r"pip install 'tailgrad\[conformal\]'"):
        limits(PART, [0, 0])
