"""The embedded data set: scikit-learn's handwritten digits, long-tailed."""

import numpy as np
from sklearn.datasets import load_digits

from tailgrad.data.pictures import Pictures
from tailgrad.data.profiles import Profile
from tailgrad.data.source import Source

_TEST_PER_CLASS = 50


def open_digits() -> Source:
    """Open ``digits-lt``: 1,797 grey images of 8 x 8 pixels in 10 classes, part of scikit-learn.

    Grey values 0 ... 16 become round(255 v / 16). The test set is a fixed choice of 50 a class; the rest
    is for training, by default reduced to the exponential profile of imbalance factor 20.

    Source:
        Alpaydin and Kaynak 1998, "Optical recognition of handwritten digits" (UCI), the copy in
        scikit-learn. Imbalance factor and test size are ours.

    Example:
        >>> source = open_digits()
        >>> source.given.count("test"), source.given.count("train")
        (500, 1297)
    """
    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    shuffled = np.random.RandomState(0).permutation(len(labels))
    given = np.full(len(labels), "train", dtype=object)
    for k in range(10):
        given[shuffled[labels[shuffled] == k][:_TEST_PER_CLASS]] = "test"
    return Source(
        name="digits-lt",
        items=Pictures(images),
        labels=labels,
        class_names=tuple(str(k) for k in range(10)),
        given=tuple(given),
        regime="digits",
        profile=Profile("exponential", 20),
    )
