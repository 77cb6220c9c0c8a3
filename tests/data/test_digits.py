import numpy as np
from sklearn.datasets import load_digits

from tailgrad.data import counts_for, longtail, open_source


def test_balanced_test_and_the_rest_for_training():
    source = open_source("digits-lt")
    given = np.array(source.given)
    assert np.bincount(source.labels[given == "test"]).tolist() == [50] * 10
    assert (given == "train").sum() == 1797 - 500
    assert (source.regime, source.name, source.rank) == ("digits", "digits-lt", None)


def test_pixels_are_the_bundled_ones_rescaled():
    source, bundled = open_source("digits-lt"), load_digits()
    for i in (0, 700, 1796):
        pixels = source.items.load(i)
        assert np.abs(pixels[..., 0] / 255 - bundled.images[i] / 16).max() <= 0.5 / 255 + 1e-12
        assert (pixels == pixels[..., :1]).all()
        assert source.labels[i] == bundled.target[i]


def test_the_choice_of_test_images_never_changes():
    first, second = open_source("digits-lt"), open_source("digits-lt")
    assert first.given == second.given
    # A new choice would make every earlier result incomparable.
    assert np.flatnonzero(np.array(first.given) == "test")[:8].tolist() == [1, 2, 4, 5, 6, 9, 14, 17]


def test_default_profile_leaves_the_training_part_long_tailed():
    source = open_source("digits-lt")
    train = source.labels[np.array(source.given) == "train"]
    available = np.bincount(train)
    kept = train[longtail(train, source.profile, seed=0)]
    counts = np.bincount(kept)
    assert np.array_equal(counts, counts_for(source.profile, available))
    assert counts[-1] == int(available.max() / 20)
    assert 18 < counts[0] / counts[-1] < 23
    assert (np.diff(counts) <= 0).all()
