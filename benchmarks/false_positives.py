"""How often the paired tests find a difference between two methods that are equally good by construction.

    python benchmarks/false_positives.py [--trials 3000] [--crossed-trials 1000]

Two methods are the same learner on two halves of the features that are drawn alike: each is as likely to be
the better one as the other, for any data, so that the true mean difference is exactly 0. Designs:

- independent: every pair draws its own training and test images.
- seeds: all pairs share training and test images; a method is a learner on random features, one draw a seed.
- resampled: one finite sample of images; every pair is another random split of it, so that pairs overlap.
  Judged plainly, with the Nadeau-Bengio variance, and (from six pairs) by Wilcoxon's test.
- nested: as resampled, five splits with three seeds each, judged by split and, wrongly, by run.
- shared images: every seed draws its own training images, and all are tested on the same ones: over new test
  images, only the bootstrap crossed with the images is to be trusted.

Writes results/bench-false-positives-cpu.json: the share of trials in which a test finds a difference at 5 %,
with the interval of that share, and the correlation between the pairs of a trial. Some minutes of one core.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from record import provenance, save
from tailgrad.evaluate import crossed_bootstrap, paired_difference, wilcoxon, wilson
from tailgrad.evaluate.metrics import f1

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Predict = Callable[[Floats, Integers, Floats], Integers]
SHARES, FEATURES, CLASSES = (0.6, 0.3, 0.1), 6, 3
IMAGES, TEST_SHARE = 240, 0.2
PAIRS = (3, 5, 10)
METRICS = ("macro_f1", "accuracy")
BLOCK = 250
RANDOM_FEATURES = 12, 96  # with many of them seeds differ little
SPLITS, SEEDS = 5, 3


def centroid(x: Floats, y: Integers, new: Floats) -> Integers:
    """Class of the nearest class mean."""
    member = np.eye(CLASSES)[y]
    means = np.einsum("bnk,bnd->bkd", member, x) / np.maximum(1, member.sum(1))[:, :, None]
    return np.asarray((2 * new @ means.swapaxes(1, 2) - (means**2).sum(2)[:, None]).argmax(2))


def ridge(x: Floats, y: Integers, new: Floats) -> Integers:
    """Largest output of a ridge regression on the classes."""
    centre = x.mean(1, keepdims=True)
    moved, member = x - centre, np.eye(CLASSES)[y]
    mean = member.mean(1, keepdims=True)
    gram = moved.swapaxes(1, 2) @ moved + np.eye(x.shape[2])
    weights = np.linalg.solve(gram, moved.swapaxes(1, 2) @ (member - mean))
    return np.asarray(((new - centre) @ weights + mean).argmax(2))


def nearest(x: Floats, y: Integers, new: Floats) -> Integers:
    """Class of the nearest training image: changes with every image that comes or goes."""
    distance = (x**2).sum(2)[:, None] - 2 * new @ x.swapaxes(1, 2)
    return np.take_along_axis(y, distance.argmin(2), 1)


LEARNERS: dict[str, Predict] = {"centroid": centroid, "ridge": ridge, "nearest": nearest}


def draw(random: np.random.Generator, samples: int, images: int) -> tuple[Floats, Integers]:
    """Samples of images: features of both halves [samples, images, 2, D], drawn alike, and classes."""
    y = random.choice(CLASSES, (samples, images), p=SHARES)
    place = np.linspace(-1, 1, CLASSES)[y][..., None, None]
    tilt = np.linspace(0.2, 1, FEATURES)
    curve = np.where(y == 1, 0.7, 0.0)[..., None, None] * tilt[::-1]
    return random.normal(size=(samples, images, 2, FEATURES)) + place * tilt + curve, y


def figures(predicted: Integers, y: Integers) -> dict[str, Floats]:
    """Macro-F1 and accuracy of each sample."""
    samples = np.arange(len(y))[:, None]
    flat = (samples * CLASSES + y) * CLASSES + predicted
    counts = np.bincount(flat.ravel(), minlength=len(y) * CLASSES**2).reshape(-1, CLASSES, CLASSES)
    return {"macro_f1": f1(counts).mean(1), "accuracy": (predicted == y).mean(1)}


def halves(learner: Predict, x: Floats, y: Integers, new: Floats, truth: Integers) -> list[dict[str, Floats]]:
    """Figures of the learner on either half of the features."""
    return [figures(learner(x[:, :, half], y, new[:, :, half]), truth) for half in (0, 1)]


def independent(random: np.random.Generator, learner: Predict, samples: int) -> list[dict[str, Floats]]:
    """Both methods on images of their own."""
    train, test = (draw(random, samples, n) for n in sizes())
    return halves(learner, *train, *test)


def sizes() -> tuple[int, int]:
    """Training and test images."""
    test = round(IMAGES * TEST_SHARE)
    return IMAGES - test, test


def resampled(
    random: np.random.Generator, learner: Predict, x: Floats, y: Integers
) -> list[dict[str, Floats]]:
    """Both methods on another split of each sample."""
    train, test = parts(random, len(y))
    return halves(learner, taken(x, train), taken(y, train), taken(x, test), taken(y, test))


def parts(random: np.random.Generator, samples: int) -> tuple[Integers, Integers]:
    """Positions of the training and test images of a random split of each sample."""
    order = random.permuted(np.tile(np.arange(IMAGES), (samples, 1)), axis=1)
    kept, _ = sizes()
    return order[:, :kept], order[:, kept:]


def taken(values: NDArray[Any], places: Integers) -> NDArray[Any]:
    """Those of each sample at its own places."""
    return np.asarray(values[np.arange(len(values))[:, None], places])


def of_seeds(
    random: np.random.Generator,
    learner: Predict,
    train: tuple[Floats, Integers],
    new: Floats,
    width: int = RANDOM_FEATURES[0],
) -> Integers:
    """What a learner on random features predicts: one seed of a method."""
    weights = random.normal(size=(len(new), FEATURES, width))
    x, y = train
    return learner(np.tanh(x[:, :, 0] @ weights), y, np.tanh(new[:, :, 0] @ weights))


def differences(
    design: str, learner: Predict, trials: int, random: np.random.Generator
) -> Iterator[dict[str, list[tuple[Floats, Floats]]]]:
    """Figures of both methods [block, pairs], block by block, for each metric."""
    for start in range(0, trials, BLOCK):
        samples = min(BLOCK, trials - start)
        one = pair_of(design, learner, samples, random)
        found = [one() for _ in range(max(PAIRS))]
        yield {m: [np.stack([pair[half][m] for pair in found], 1) for half in (0, 1)] for m in METRICS}


def pair_of(
    design: str, learner: Predict, samples: int, random: np.random.Generator
) -> Callable[[], list[dict[str, Floats]]]:
    """A function that draws the figures of both methods for one more pair of each sample."""
    if design == "independent":
        return lambda: independent(random, learner, samples)
    if design == "resampled":
        sample = draw(random, samples, IMAGES)
        return lambda: resampled(random, learner, *sample)
    train, (new, truth) = (draw(random, samples, n) for n in sizes())
    return lambda: [figures(of_seeds(random, learner, train, new), truth) for _ in range(2)]


def rates(design: str, name: str, trials: int, seed: int) -> list[dict[str, Any]]:
    """False positives of every test that the design calls for, by number of pairs and metric."""
    train, test = sizes()
    random = np.random.default_rng([seed, len(design), len(name)])
    blocks = list(differences(design, LEARNERS[name], trials, random))
    rows = []
    for metric in METRICS:
        a, b = (np.concatenate([block[metric][half] for block in blocks]) for half in (0, 1))
        same = {"design": design, "learner": name, "metric": metric}
        same["correlation"] = round(correlation(a - b), 3)
        for test_name, is_found in tests_of(design, test / train).items():
            for pairs in PAIRS[-1:] if test_name == "wilcoxon" else PAIRS:
                hits = [is_found(x[:pairs], y[:pairs]) for x, y in zip(a, b, strict=True)]
                rows.append({**same, "test": test_name, "pairs": pairs, **share(hits)})
    return rows


def nested(name: str, trials: int, seed: int, width: int) -> list[dict[str, Any]]:
    """Several seeds of several splits, learners on so many random features: what a pair must be."""
    (kept, test), random = sizes(), np.random.default_rng([seed, 9])
    blocks = [nested_block(random, LEARNERS[name], width) for _ in range(-(-trials // BLOCK))]
    rows, test_t = [], tests_of("resampled", test / kept)["nadeau-bengio"]
    for metric in METRICS:
        runs = np.concatenate([block[metric] for block in blocks], 1)[:, :trials]
        for pair, (a, b) in {"split": runs.mean(3), "run": runs.reshape(2, trials, -1)}.items():
            hits = [test_t(x, y) for x, y in zip(a, b, strict=True)]
            same = {"design": "nested", "learner": name, "metric": metric, "test": f"nadeau-bengio by {pair}"}
            rows.append({**same, "random_features": width, "pairs": a.shape[1], **share(hits)})
    return rows


def nested_block(random: np.random.Generator, learner: Predict, width: int) -> dict[str, Floats]:
    """Figures of both methods [2, block, splits, seeds]."""
    x, y = draw(random, BLOCK, IMAGES)
    found: dict[str, list[Floats]] = {metric: [] for metric in METRICS}
    for _ in range(SPLITS):
        train, test = parts(random, BLOCK)
        for half in np.repeat([0, 1], SEEDS):
            one = x[:, :, [half]]
            given = of_seeds(random, learner, (taken(one, train), taken(y, train)), taken(one, test), width)
            for metric, values in figures(given, taken(y, test)).items():
                found[metric].append(values)
    shaped = {metric: np.array(values).reshape(SPLITS, 2, SEEDS, BLOCK) for metric, values in found.items()}
    return {metric: values.transpose(1, 3, 0, 2) for metric, values in shaped.items()}


def tests_of(design: str, ratio: float) -> dict[str, Callable[[Floats, Floats], bool]]:
    """The tests that are judged, each true where it finds a difference."""

    def t(rho: float | None) -> Callable[[Floats, Floats], bool]:
        return lambda a, b: paired_difference(a, b, test_train_ratio=rho).verdict in {"better", "worse"}  # type: ignore[arg-type]

    def signed(a: Floats, b: Floats) -> bool:
        p = wilcoxon(a, b)  # type: ignore[arg-type]
        return p is not None and p < 0.05

    corrected = {"nadeau-bengio": t(ratio)} if design == "resampled" else {}
    return {"t": t(None), **corrected, "wilcoxon": signed}


def correlation(found: Floats) -> float:
    """Correlation of the differences of one sample's pairs, whose true mean is 0."""
    return float(1 - found.var(1, ddof=1).mean() / (found**2).mean())


def share(hits: list[bool]) -> dict[str, Any]:
    """Share of false positives with its interval."""
    found = wilson(sum(hits), len(hits))
    ends = [round(end, 4) for end in (found.low, found.high) if end is not None]
    return {"false_positives": round(found.value, 4), "interval": ends, "trials": len(hits)}


def crossed(design: str, trials: int, seed: int) -> list[dict[str, Any]]:
    """The crossed bootstrap and the plain t over 10 seeds, tested on the same images."""
    random, pairs = np.random.default_rng([seed, 7]), 10
    hits: dict[tuple[str, str], list[bool]] = {}
    for trial in range(trials):
        predicted, truth = same_images(design, pairs, random)
        for metric in METRICS:
            a, b = (figures(p, np.tile(truth, (pairs, 1)))[metric] for p in predicted)
            ends = crossed_bootstrap(
                *predicted, truth, num_classes=CLASSES, metric=metric, resamples=1000, seed=trial
            )
            found = {
                "crossed bootstrap": ends.low > 0 or ends.high < 0,
                "t": tests_of(design, 1.0)["t"](a, b),
            }
            for name, hit in found.items():
                hits.setdefault((metric, name), []).append(bool(hit))
    same = {"design": design, "learner": "centroid", "pairs": pairs}
    return [{**same, "metric": metric, "test": name, **share(h)} for (metric, name), h in hits.items()]


def same_images(
    design: str, pairs: int, random: np.random.Generator
) -> tuple[tuple[Integers, Integers], Integers]:
    """Classes that both methods predict [pairs, N] for the same test images, and the true ones."""
    kept, tested = sizes()
    new, truth = draw(random, 1, 2 * tested)
    new = np.repeat(new, pairs, 0)
    if design == "seeds":
        train = tuple(np.repeat(part, pairs, 0) for part in draw(random, 1, kept))
        a, b = (of_seeds(random, centroid, train, new) for _ in range(2))  # type: ignore[arg-type]
        return (a, b), truth[0]
    x, y = draw(random, pairs, kept)
    a, b = (centroid(x[:, :, half], y, new[:, :, half]) for half in (0, 1))
    return (a, b), truth[0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=3000)
    parser.add_argument("--crossed-trials", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for design in ("independent", "seeds", "resampled"):
        for name in LEARNERS:
            rows += rates(design, name, options.trials, seed=0)
            print(*rows[-len(METRICS) :], sep="\n", flush=True)
    for width in RANDOM_FEATURES:
        rows += nested("centroid", options.trials, 0, width)
        print(*rows[-4:], sep="\n", flush=True)
    for design in ("seeds", "shared images"):
        rows += crossed(design, options.crossed_trials, seed=0)
        print(*rows[-4:], sep="\n", flush=True)
    save(
        "bench-false-positives-cpu",
        {"what": __doc__.split("\n")[0], **settings(), "ranges": ranges(rows), "rows": rows},
    )


def ranges(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Lowest and highest share over learners and metrics, by design, test and number of pairs."""
    found: dict[str, Any] = {}
    for row in rows:
        by_pairs = found.setdefault(row["design"], {}).setdefault(row["test"], {})
        one = by_pairs.setdefault(str(row["pairs"]), {"lowest": 1.0, "highest": 0.0})
        one["lowest"] = min(one["lowest"], row["false_positives"])
        one["highest"] = max(one["highest"], row["false_positives"])
    return found


def settings() -> dict[str, Any]:
    """What the figures rest on."""
    train, test = sizes()
    sample = {"training_images": train, "test_images": test, "class_shares": SHARES, "nominal": 0.05}
    return {**sample, "features_of_a_half": FEATURES, **provenance([0])}


if __name__ == "__main__":
    main()
