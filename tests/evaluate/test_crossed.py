import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from tailgrad.checks import InputError
from tailgrad.evaluate import crossed_bootstrap, paired_difference
from tailgrad.evaluate.crossed import _ends, _Patterns


def predictions(seed: int, *, seeds: int = 10, images: int = 60, classes: int = 3, right: float = 0.6):
    random = np.random.default_rng(seed)
    target = random.integers(0, classes, images)
    a, b = (
        np.where(random.random((seeds, images)) < right, target, random.integers(0, classes, (seeds, images)))
        for _ in range(2)
    )
    return a, b, target


REFERENCE = {
    "accuracy": accuracy_score,
    "balanced_accuracy": balanced_accuracy_score,
    "macro_f1": lambda y, p: f1_score(y, p, average="macro", labels=[0, 1, 2], zero_division=0),
}


@pytest.mark.parametrize("metric", REFERENCE)
def test_the_value_is_the_mean_difference_of_scikit_learns_figures(metric: str) -> None:
    a, b, target = predictions(0)
    wanted = np.mean(
        [REFERENCE[metric](target, x) - REFERENCE[metric](target, y) for x, y in zip(a, b, strict=True)]
    )
    found = crossed_bootstrap(a, b, target, num_classes=3, metric=metric, resamples=20)
    assert found.value == pytest.approx(wanted)


@pytest.mark.parametrize("metric", REFERENCE)
def test_every_resample_is_scored_as_its_images_are(metric: str) -> None:
    a, b, target = predictions(1, seeds=2, images=40)
    patterns, random = _Patterns.of(np.stack([a, b]), target, 3), np.random.default_rng(0)
    columns = np.concatenate([target[None], a, b])
    unique, which = np.unique(columns, axis=1, return_inverse=True)
    for _ in range(5):
        images = random.integers(0, 40, 40)
        drawn = np.bincount(which.ravel()[images], minlength=unique.shape[1])
        found = patterns.figures(drawn[:, None], metric)[:, :, 0]
        wanted = [[REFERENCE[metric](target[images], run[images]) for run in method] for method in (a, b)]
        assert found == pytest.approx(np.array(wanted))


def test_agrees_with_a_bootstrap_written_out() -> None:
    a, b, target = predictions(2, right=0.7)
    random, draws = np.random.default_rng(3), []
    right = np.stack([a == target, b == target]).astype(float)
    for _ in range(4000):
        images, seeds = random.integers(0, 60, 60), random.integers(0, 10, 10)
        means = right[:, seeds][:, :, images].mean((1, 2))
        draws.append(means[0] - means[1])
    low, high = np.quantile(draws, _ends(0.95, right[0].mean(1) - right[1].mean(1), float(np.var(draws))))
    found = crossed_bootstrap(a, b, target, num_classes=3, metric="accuracy", resamples=4000)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.008)


def test_the_ends_are_students_where_only_seeds_vary() -> None:
    # All images alike: each seed is right on all or on none, so that images add nothing.
    right_a, right_b = np.arange(40) % 4 < 3, np.arange(40) % 2 < 1
    a, b = (np.repeat(1 - right[:, None].astype(int), 30, 1) for right in (right_a, right_b))
    found = crossed_bootstrap(a, b, np.zeros(30, int), num_classes=2, metric="accuracy", resamples=20_000)
    student = paired_difference(right_a.astype(float), right_b.astype(float))
    assert found.value == pytest.approx(student.mean)
    assert (found.low, found.high) == pytest.approx((student.low, student.high), abs=0.02)


def test_methods_share_their_images() -> None:
    a, _, target = predictions(4)
    same = crossed_bootstrap(a, a, target, num_classes=3, resamples=50)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_blocks_of_resamples_do_not_change_the_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, target = predictions(5)
    whole = crossed_bootstrap(a, b, target, num_classes=3, resamples=30)
    assert whole == crossed_bootstrap(a, b, target, num_classes=3, resamples=30)
    assert whole != crossed_bootstrap(a, b, target, num_classes=3, resamples=30, seed=1)
    monkeypatch.setattr("tailgrad.evaluate.crossed._BLOCK", 300)
    parts = crossed_bootstrap(a, b, target, num_classes=3, resamples=2000)
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=0.05)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"predicted_a": np.zeros((9, 4), int), "predicted_b": np.zeros((9, 4), int)},
            "10 seeds or more, got 9",
        ),
        ({"predicted_b": np.zeros((11, 4), int)}, r"predicted_b must be \[S, N\].*\(11, 4\)"),
        ({"predicted_a": np.zeros((10, 5), int)}, r"N=4.*got \(10, 5\)"),
        ({"predicted_a": np.full((10, 4), 3)}, "class indices from 0 to 1"),
        ({"metric": "recall"}, "metric"),
        ({"resamples": 0}, "resamples"),
        ({"level": 1.0}, "level"),
    ],
)
def test_bad_input_is_named(change, words: str) -> None:
    arguments = {"predicted_a": np.zeros((10, 4), int), "predicted_b": np.ones((10, 4), int)}
    arguments |= {"target": [0, 0, 1, 1], "num_classes": 2} | change
    with pytest.raises(InputError, match=words):
        crossed_bootstrap(**arguments)
