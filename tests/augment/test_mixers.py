"""Mixup, CutMix, remix and CMO: the worked numbers and invariants of methods D.11."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, ks_2samp, kstest
from torch import Tensor
from torchvision.transforms import v2

from tailgrad import augment
from tailgrad.augment import CMO, CutMix, Mixup, Remix
from tailgrad.augment.boxes import random_boxes
from tailgrad.augment.mixing import draw_share
from tailgrad.checks import InputError
from tailgrad.losses import CrossEntropyLoss

COUNTS = [100, 10, 1]
MIXERS = [name for name in augment.__all__ if getattr(getattr(augment, name), "mixes", False)]


def _pair(n: int = 6, height: int = 8, width: int = 12) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Images of zeros and a partner of ones, so that a mean tells the partner's share of the pixels."""
    target = torch.arange(n) % 2
    partner = torch.ones(n, 3, height, width), torch.full((n,), 2)
    return torch.zeros(n, 3, height, width), target, partner


def _make(name: str, **options: Any) -> Any:
    return getattr(augment, name)(COUNTS, **options, **({"probability": 1.0} if name == "CMO" else {}))


@pytest.mark.parametrize("name", MIXERS)
def test_a_share_of_one_is_the_identity(name: str) -> None:
    images, target, partner = _pair()
    images = torch.rand_like(images)
    mixed, rows = _make(name, alpha=0.0)(images, target, partner)
    assert torch.equal(mixed, images)
    assert torch.equal(rows, torch.eye(3)[target])


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("per_example", [False, True])
@pytest.mark.parametrize("n", [1, 6])
def test_labels_carry_the_share_of_the_images(name: str, per_example: bool, n: int) -> None:
    torch.manual_seed(0)
    options = {"tau": 0.0} if name == "Remix" else {}
    mixer = _make(name, per_example=per_example, **options)
    for _ in range(30):
        images, target, partner = _pair(n)
        mixed, rows = mixer(images, target, partner)
        other = mixed.mean((1, 2, 3))
        expected = torch.zeros(n, 3).scatter(1, target[:, None], 1 - other[:, None])
        expected[:, 2] = other
        torch.testing.assert_close(rows, expected)
        assert rows.dtype == torch.float32
        assert (len(other.unique()) > 1) == (per_example and n > 1) or other.max() == 0


@pytest.mark.parametrize("name", [n for n in MIXERS if n != "CMO"])
def test_without_partner_the_batch_mixes_with_itself(name: str) -> None:
    images, target = torch.rand(8, 3, 6, 6), torch.arange(8) % 3
    torch.manual_seed(0)
    mixed, rows = _make(name)(images, target)
    torch.manual_seed(0)
    again = _make(name)(images, target)
    assert torch.equal(mixed, again[0])
    torch.testing.assert_close(mixed.sum(0), images.sum(0))
    torch.testing.assert_close(rows.sum(1), torch.ones(8))
    assert not torch.equal(mixed, images)


@pytest.mark.parametrize("name", [n for n in MIXERS if n != "Remix"])
def test_probabilities_mix_as_one_hot_rows_do(name: str) -> None:
    images, target, (others, other) = _pair()
    torch.manual_seed(2)
    expected = _make(name)(images, target, (others, other))[1]
    torch.manual_seed(2)
    rows = torch.eye(3)
    assert torch.equal(_make(name)(images, rows[target], (others, rows[other]))[1], expected)


@pytest.mark.parametrize("name", ["CutMix", "CMO"])
def test_a_patch_is_one_rectangle_of_the_partner(name: str) -> None:
    torch.manual_seed(0)
    mixer = _make(name, per_example=True)
    images, target, partner = _pair(200)
    bytes_, _ = mixer(images.byte(), target, (partner[0].byte(), partner[1]))
    assert bytes_.dtype == torch.uint8
    for image in bytes_[:, 0].bool():
        rows, columns = image.any(1), image.any(0)
        assert torch.equal(image, rows[:, None] & columns)
        for line in (rows, columns):
            assert (line[1:] != line[:-1]).sum() <= 2


def test_cut_mix_before_clipping_cuts_one_minus_the_share() -> None:
    # Beta(1e6, 1e6) is one half: sides of 8 * sqrt(.5) = 5 and 12 * sqrt(.5) = 8 pixels, in pairs 4 and 8.
    torch.manual_seed(0)
    images, target, partner = _pair(500)
    mixed, _ = CutMix(COUNTS, alpha=1e6, per_example=True)(images, target, partner)
    assert mixed.sum((1, 2, 3)).max() == 3 * 4 * 8
    assert mixed.sum((1, 2, 3)).min() == 3 * 2 * 4


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    torch.manual_seed(0)
    images, target, partner = _pair(2000, 1, 1)
    mixed, _ = Mixup(COUNTS, alpha=alpha, per_example=True)(images, target, partner)
    assert kstest(mixed[:, 0, 0, 0].numpy(), "beta", (alpha, alpha)).pvalue > 1e-3


@pytest.mark.parametrize("height", [9, 32])
def test_cut_mix_keeps_as_many_pixels_as_torchvisions(height: int) -> None:
    torch.manual_seed(0)
    n, images, target = 1500, torch.zeros(2, 1, height, 14), torch.tensor([0, 1])
    theirs = v2.CutMix(num_classes=2)
    expected = [float(theirs(images, target)[1][0, 0]) for _ in range(n)]
    partner = torch.zeros(n, 1, height, 14), torch.ones(n, dtype=torch.long)
    ours = CutMix([5, 5], per_example=True)
    _, found = ours(torch.zeros_like(partner[0]), torch.zeros_like(partner[1]), partner)
    assert ks_2samp(found[:, 0].numpy(), expected).pvalue > 1e-3


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 10_000))
def test_boxes_are_clipped_windows_around_a_pixel(
    height: int, width: int, tall: int, wide: int, seed: int
) -> None:
    torch.manual_seed(seed)
    box, outside = random_boxes(torch.tensor([[tall, wide]]), height, width)
    allowed = []
    for row in range(height):
        for column in range(width):
            mask = torch.zeros(height, width, dtype=torch.bool)
            mask[max(row - tall, 0) : row + tall, max(column - wide, 0) : column + wide] = True
            allowed.append(mask)
    assert any(torch.equal(box[0, 0], mask) for mask in allowed)
    torch.testing.assert_close(outside, 1 - box.float().mean((1, 2, 3)))


@pytest.mark.parametrize(
    ("counts", "share", "label"),
    [
        ((100, 10), 0.4, 0.0),
        ((100, 10), 0.6, 0.6),
        ((10, 100), 0.6, 1.0),
        ((10, 100), 0.4, 0.4),
        ((100, 50), 0.4, 0.4),
        ((30, 10), 0.4, 0.0),  # the ratio kappa itself counts
        ((10, 30), 0.6, 1.0),
        ((30, 10), 0.5, 0.5),  # the share tau itself does not
        ((10, 30), 0.5, 0.5),
    ],
)
def test_remix_labels(counts: tuple[int, int], share: float, label: float) -> None:
    own, other = torch.tensor([0]), torch.tensor([1])
    found = Remix(counts).label_share(own, other, torch.tensor([share]))
    torch.testing.assert_close(found, torch.tensor([label]))


@given(st.lists(st.integers(1, 500), min_size=3, max_size=3), st.integers(0, 10_000))
def test_remix_is_fair_to_both_sides(counts: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    own, other, share = torch.randint(3, (20,)), torch.randint(3, (20,)), torch.rand(20)
    mixer = Remix(counts)
    one, two = mixer.label_share(own, other, share), mixer.label_share(other, own, 1 - share)
    torch.testing.assert_close(one, 1 - two)
    assert torch.equal(Remix([7] * 3).label_share(own, other, share), share)


def test_remix_mixes_pixels_as_mixup_does() -> None:
    images, target, partner = _pair()
    torch.manual_seed(4)
    expected = Mixup(COUNTS)(images, target, partner)[0]
    torch.manual_seed(4)
    mixed, rows = Remix(COUNTS)(images, target, partner)
    assert torch.equal(mixed, expected)
    assert set(rows[:, 2].tolist()) <= {1.0, float(mixed[0, 0, 0, 0])}


def test_cmo_mixes_half_of_the_batches() -> None:
    torch.manual_seed(0)
    images, target, partner = _pair(2)
    mixer = CMO(COUNTS, alpha=1e6)
    mixed = [bool(mixer(images, target, partner)[0].any()) for _ in range(600)]
    assert abs(sum(mixed) / 600 - 0.5) < 5 * 0.5 / 600**0.5


@pytest.mark.parametrize(
    ("options", "mixing"),
    [
        ({"epochs": 10}, [4, 5, 6, 7]),
        ({"epochs": 10, "rest": 0}, list(range(1, 11))),
        ({"epochs": 10, "rest": 1}, list(range(2, 10))),
        ({"rest": 4}, list(range(5, 11))),
        ({"epochs": 7}, [4]),
        ({"epochs": 4}, [2, 3]),  # too short for two rests of 3
        ({"epochs": 1}, [1]),
    ],
)
def test_cmo_rests_at_both_ends(options: dict[str, int], mixing: list[int]) -> None:
    torch.manual_seed(0)
    images, target, partner = _pair(2)
    mixer, found = _make("CMO", alpha=1e6, **options), []
    for epoch in range(1, (options.get("epochs") or 10) + 1):
        mixer.set_epoch(epoch)
        mixed, rows = mixer(images, target, partner)
        found += [epoch] if mixed.any() else []
        assert mixed.any() == (rows[:, 2] > 0).all()
    assert found == mixing


def test_class_weights_apply_label_by_label() -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 3)
    images, target, partner = _pair()
    mixed, rows = Mixup(COUNTS)(images, target, partner)
    share = 1 - mixed[0, 0, 0, 0]
    loss = CrossEntropyLoss(COUNTS, weights="inverse", reduction="none")
    expected = share * loss(logits, target) + (1 - share) * loss(logits, partner[1])
    torch.testing.assert_close(loss(logits, rows), expected)


@pytest.mark.parametrize(("dtype", "precision"), [(torch.bfloat16, 0.01), (torch.float64, 1e-7)])
def test_images_keep_their_type_and_labels_their_precision(dtype: torch.dtype, precision: float) -> None:
    images, target, partner = _pair()
    mixed, rows = Mixup(COUNTS)(images.to(dtype), target, (partner[0].to(dtype), partner[1]))
    assert mixed.dtype == dtype
    assert rows.dtype == torch.float32
    torch.testing.assert_close(mixed[:, 0, 0, 0].float(), rows[:, 2], atol=precision, rtol=0)


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize(
    ("target", "words"),
    [([0, 3], r"in 0\.\.2, got 0\.\.3"), ([-1, 0], r"got -1\.\.0"), ([[0.5, 0.5]] * 2, "class indices")],
)
def test_targets_that_do_not_fit(name: str, target: list[Any], words: str) -> None:
    images, _, partner = _pair(2)
    with pytest.raises(InputError, match=words):
        _make(name)(images, torch.tensor(target), partner)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Mixup(), "class_counts must hold one count a class, got None"),
        (lambda: CutMix(COUNTS, alpha=-1), "alpha must be in .*got -1"),
        (lambda: Remix([5, 0]), r"class_counts\[1\]=0"),
        (lambda: Remix(COUNTS, kappa=0.5), "kappa must be in .*got 0.5"),
        (lambda: Remix(COUNTS, tau=2), "tau must be in .*got 2"),
        (lambda: CMO(COUNTS, probability=2), "probability must be in .*got 2"),
        (lambda: CMO(COUNTS, epochs=0), "epochs must be in .*got 0"),
        (lambda: CMO(COUNTS)(*_pair()[:2]), "partner must be .*got None"),
        (lambda: CutMix(COUNTS)(*_pair(4)[:2], _pair(3)[2]), r"partner images must be \[4, 3, 8, 12\]"),
        (lambda: Mixup(COUNTS)(_pair()[0].byte(), _pair()[1]), "floating point .*got torch.uint8"),
    ],
)
def test_bad_input(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize("alpha", [1e-9, 1e-3, 3e-3, 0.0099])
def test_shares_of_the_smallest_alphas_are_at_the_ends(alpha: float) -> None:
    torch.manual_seed(0)
    share = draw_share(alpha, torch.zeros(20_000, 1), per_example=True).double()
    assert bool(((share >= 0) & (share <= 1)).all())
    law = beta(alpha, alpha)
    for low, high in ((0.0, 0.01), (0.01, 0.5), (0.5, 0.99), (0.99, 1.0)):
        wanted = law.cdf(high) - law.cdf(low)
        found = float(((share >= low) & (share <= high)).double().mean())
        assert found == pytest.approx(wanted, abs=4 * (wanted / 20_000) ** 0.5 + 1e-9)
