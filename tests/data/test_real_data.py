"""Checks on real data that lie beside the repository; skipped where they do not."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tailgrad.data import Profile, default_size, load_images, longtail, open_source
from tailgrad.data.cifar import canonical_rank

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no real data beside the repository")

SETS = [("cifar10", 10, 5000), ("cifar100", 100, 500)]


@pytest.mark.parametrize(
    ("name", "factor", "total"),
    [
        ("cifar10", 10, 20_431),
        ("cifar10", 20, 17_023),
        ("cifar10", 50, 13_996),
        ("cifar10", 100, 12_406),
        ("cifar10", 200, 11_203),
        ("cifar100", 10, 19_573),
        ("cifar100", 20, 15_907),
        ("cifar100", 50, 12_608),
        ("cifar100", 100, 10_847),
        ("cifar100", 200, 9_502),
    ],
)
def test_canonical_selection(name, factor, total):
    source = open_source(DATA / name)
    train = np.flatnonzero(np.array(source.given) == "train")
    kept = train[longtail(source.labels[train], Profile("exponential", factor), 0, source.rank[train])]
    assert len(kept) == total
    classes = source.num_classes
    n_max = 50_000 // classes
    limit = np.array([int(n_max * (1 / factor) ** (c / (classes - 1))) for c in range(classes)])
    wanted = np.flatnonzero((source.rank >= 0) & (source.rank < limit[source.labels]))
    assert np.array_equal(kept, wanted)


@pytest.mark.parametrize(("name", "classes", "n_max"), SETS)
def test_stored_ranks_are_those_of_our_shuffle(name, classes, n_max):
    """The shuffle of one class is a permutation of its positions, so it can be checked on the kept part.

    If image r of a class comes from position p[r] of the sorted class, then the kept images sorted by
    p[rank] must be sorted by their position in the data set.
    """
    table = pq.read_table(DATA / name / "train.parquet", columns=["label", "index", "rank"])
    label, index, rank = (table[column].to_numpy() for column in ("label", "index", "rank"))
    full = np.repeat(np.arange(classes), n_max)
    ranks = canonical_rank(full).reshape(classes, n_max)
    for k in range(classes):
        place = np.argsort(ranks[k])[rank[label == k]]
        assert np.array_equal(np.argsort(place), np.argsort(index[label == k]))


def test_test_parts_are_balanced_and_unranked():
    for name, classes, _ in SETS:
        source = open_source(DATA / name)
        test = np.array(source.given) == "test"
        assert np.bincount(source.labels[test]).tolist() == [10_000 // classes] * classes
        assert (source.rank[test] == -1).all()


def test_photographs():
    source = open_source(DATA / "pv")
    assert dict(zip(source.class_names, source.counts, strict=True)) == {
        "Bird-drop": 207,
        "Clean": 193,
        "Dusty": 190,
        "Electrical-damage": 103,
        "Physical-Damage": 69,
        "Snow-Covered": 123,
    }
    nested = [source.items.name(i) for i in range(len(source.items)) if source.items.name(i).count("/") > 1]
    assert len(nested) == 16
    assert {name.rsplit("/", 1)[0] for name in nested} == {"Bird-drop/New"}
    assert default_size(source, 128) == (128, 128)
    assert load_images(source, range(0, 885, 100), (64, 64), mode="crop").shape == (9, 3, 64, 64)


def test_infrared():
    source = open_source(DATA / "infrared_solar_modules")
    assert (len(source.items), source.num_classes, max(source.counts), min(source.counts)) == (
        20_000,
        12,
        10_000,
        175,
    )
    assert set(source.given) == {""}
    assert source.class_names[0] == "No-Anomaly"
    assert {source.items.size(i) for i in range(0, 20_000, 1999)} == {(40, 24)}
    images = load_images(source, range(0, 20_000, 4000), (80, 48))
    assert (images == images[:, :1]).all()
