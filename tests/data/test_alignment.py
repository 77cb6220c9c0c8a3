import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tailgrad.data.alignment import align, halved, local_correlation

NOISE = gaussian_filter(np.random.default_rng(1).normal(size=(6, 256, 256)), (0, 14, 14))
NOISE = (120 + 40 * NOISE / NOISE.std((1, 2), keepdims=True)).astype(np.float64)


def view(scene, zoom=1.0, shift=(0.0, 0.0), side=32):
    """The middle of a scene, side x side; zoom < 1 sees less of it, shift is in pixels of the picture."""
    step = 4.0 * zoom
    u = (np.arange(side) - (side - 1) / 2) * step + 127.5
    y, x = u + 4 * shift[1], u + 4 * shift[0]
    rows = np.stack([np.interp(y, np.arange(256), column) for column in scene.T], axis=1)
    return np.stack([np.interp(x, np.arange(256), row) for row in rows]).astype(np.float32)


@pytest.mark.parametrize(
    ("zoom", "shift"),
    [(1.0, (0, 0)), (1.0, (2, -1)), (0.93, (0, 0)), (1.06, (1, 1)), (1.0, (-3, 0.5))],
)
def test_the_shift_and_stretch_of_a_copy_are_found(zoom, shift):
    a = np.stack([view(scene) for scene in NOISE])
    b = np.stack([view(scene, zoom, shift) for scene in NOISE])
    found = align(a, b, steps=12)
    assert (found.correlation > 0.995).all()
    # b shows scene point c + zoom * r + shift at r, so a's point r lies at (r - shift) / zoom of b.
    assert found.warp[:, 0] == pytest.approx(1 / zoom - 1, abs=0.01)
    assert found.warp[:, 2] == pytest.approx(-shift[0] / zoom, abs=0.15)
    assert found.warp[:, 3] == pytest.approx(-shift[1] / zoom, abs=0.15)
    assert (local_correlation(a, b, found.warp) > 0.95).all()


def test_without_steps_it_is_pearson_s_correlation():
    a, b = (np.stack([view(scene) for scene in part]) for part in (NOISE[:3], NOISE[3:]))
    expected = [np.corrcoef(p.ravel(), q.ravel())[0, 1] for p, q in zip(a, b, strict=True)]
    assert align(a, b, steps=0).correlation == pytest.approx(expected, abs=1e-4)


def test_brightness_and_contrast_do_not_matter():
    a = np.stack([view(scene) for scene in NOISE])
    b = np.stack([view(scene, shift=(1, 1)) for scene in NOISE])
    plain, changed = align(a, b), align(a, 0.6 * b + 50)
    assert changed.correlation == pytest.approx(plain.correlation, abs=1e-3)
    assert changed.warp == pytest.approx(plain.warp, abs=0.02)


def test_alignment_never_lowers_the_correlation_and_stays_within_its_limits():
    pairs = [(p, q) for p in range(6) for q in range(p)]
    a, b = (np.stack([view(NOISE[pair[side]]) for pair in pairs]) for side in (0, 1))
    found = align(a, b, steps=12)
    assert (found.correlation >= align(a, b, steps=0).correlation).all()
    assert (np.abs(found.warp) <= np.array([0.15, 0.15, 4.8, 4.8]) + 1e-6).all()
    assert found.correlation.max() < 0.98


@pytest.mark.parametrize("other", [0.0, 128.0])
def test_a_constant_image_correlates_with_nothing(other):
    flat = np.full((1, 32, 32), 77, np.float32)
    found = align(flat, np.full((1, 32, 32), other, np.float32))
    assert found.correlation.tolist() == [0.0]
    assert local_correlation(flat, flat, found.warp).tolist() == [0.0]
    textured = view(NOISE[0])[None]
    assert abs(align(flat, textured).correlation[0]) < 1e-3
    assert abs(align(textured, flat).correlation[0]) < 1e-3


def test_a_shared_dark_frame_does_not_make_two_objects_alike():
    frame = np.ones((32, 32), bool)
    frame[4:-4, 4:-4] = False
    objects = gaussian_filter(np.random.default_rng(0).normal(size=(6, 32, 32)), (0, 1.5, 1.5))
    objects = 170 + 12 * objects / objects.std()
    a, b = np.where(frame, 10, objects[:3]), np.where(frame, 10, objects[3:])
    a, b = a.astype(np.float32), b.astype(np.float32)
    found = align(a, b)
    assert (found.correlation > 0.98).all()
    assert (local_correlation(a, b, found.warp) < 0.9).all()


def test_no_pairs_are_no_trouble():
    none = np.empty((0, 32, 32), np.float32)
    found = align(none, none)
    assert found.correlation.shape == (0,)
    assert local_correlation(none, none, found.warp).shape == (0,)


def test_halving_keeps_the_mean_of_every_block():
    images = np.random.default_rng(0).random((2, 8, 8)).astype(np.float32)
    expected = [
        [[image[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean() for x in range(4)] for y in range(4)]
        for image in images
    ]
    assert halved(images) == pytest.approx(np.array(expected))
