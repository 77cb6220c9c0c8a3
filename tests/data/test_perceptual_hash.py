import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from tailgrad.data import perceptual_hash as module
from tailgrad.data.perceptual_hash import close_pairs, perceptual_hash


def scenes(n, seed=0):
    noise = np.random.default_rng(seed).normal(size=(n, 32, 32))
    return (120 + 400 * gaussian_filter(noise, (0, 3, 3))).astype(np.float32)


def naive_hash(image):
    """The definition, with the cosine transform written out."""
    k, x = np.mgrid[:32, :32]
    basis = np.sqrt(2 / 32) * np.cos(np.pi * (2 * x + 1) * k / 64)
    basis[0] /= np.sqrt(2)
    low = (basis @ image @ basis.T)[:8, :8].ravel()[1:]
    return low > np.median(low)


def test_hash_follows_the_definition():
    images = scenes(5)
    assert np.array_equal(perceptual_hash(images), [naive_hash(image.astype(float)) for image in images])


def test_brightness_and_contrast_do_not_matter():
    images = scenes(10)
    assert np.array_equal(perceptual_hash(images), perceptual_hash(0.5 * images + 30))


def test_half_of_the_other_bits_are_set_and_unrelated_images_differ_in_half():
    bits = perceptual_hash(scenes(60))
    assert (bits.sum(1) == 31).all()
    different = [int((bits[i] != bits[j]).sum()) for i in range(60) for j in range(i)]
    assert 29 < np.mean(different) < 34
    assert min(different) > 12


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(0, 40),
    width=st.integers(1, 70),
    distance=st.integers(0, 12),
    block=st.integers(1, 200),
    seed=st.integers(0, 99),
)
def test_close_pairs_are_those_that_counting_finds(n, width, distance, block, seed):
    rng = np.random.default_rng(seed)
    # Few distinct rows with a little noise, so that small distances occur.
    bits = rng.random((4, width))[rng.integers(0, 4, n)] < 0.5
    bits ^= rng.random((n, width)) < 0.05
    expected = [
        (i, j)
        for i in range(n)
        for j in range(i + 1, n)
        if (bits[i] != bits[j]).sum() <= min(distance, width)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        found = [tuple(pair) for pairs in close_pairs(bits, min(distance, width)) for pair in pairs.tolist()]
    assert found == expected
