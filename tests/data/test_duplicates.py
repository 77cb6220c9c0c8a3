import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from tailgrad.data import Source, UnreadableImage, duplicates, open_source, thumbnails
from tailgrad.data.duplicates import _complete_linkage, duplicate_groups


def scene(seed, height=120, width=160):
    """A textured colour picture: blobs of several sizes."""
    rng = np.random.default_rng(seed)
    layers = [gaussian_filter(rng.normal(size=(height, width, 3)), (s, s, 0)) for s in (2, 5, 12, 25)]
    total = sum(layer / layer.std() for layer in layers)
    return np.clip(128 + 25 * total, 0, 255).astype(np.uint8)


def jpeg(pixels, quality):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(pixels, factor):
    height, width, _ = pixels.shape
    return np.asarray(Image.fromarray(pixels).resize((int(width * factor), int(height * factor))))


def groups_of(*images, **options):
    return duplicate_groups(open_source((list(images), [0, *[1] * (len(images) - 1)])), **options)


CHANGES = {
    "recompressed": lambda a: jpeg(a, 75),
    "recompressed hard": lambda a: jpeg(a, 30),
    "half size": lambda a: resized(a, 0.5),
    "larger": lambda a: resized(a, 1.4),
    "stretched": lambda a: np.asarray(Image.fromarray(a).resize((120, 120))),
    "shifted": lambda a: a[:, 5:],
    "cropped": lambda a: a[3:-3, 4:-4],
    "brighter": lambda a: np.clip(a.astype(int) + 25, 0, 255).astype(np.uint8),
    "less contrast": lambda a: (a * 0.7 + 30).astype(np.uint8),
    "grey": lambda a: np.asarray(Image.fromarray(a).convert("L")),
    "noisy": lambda a: np.clip(a + np.random.default_rng(0).normal(0, 6, a.shape), 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_altered_copy_is_near_and_the_rest_is_alone(change, seed):
    picture = scene(seed)
    found = groups_of(scene(10), picture, scene(11), CHANGES[change](picture), scene(12))
    assert found.near == ((1, 3),)
    assert found.exact == ()
    assert found.group.tolist() == [0, 1, 2, 1, 3]


def test_different_pictures_are_no_duplicates():
    found = groups_of(*(scene(seed) for seed in range(40)))
    assert found.groups == ()
    assert found.group.tolist() == list(range(40))


def test_mirrored_and_turned_pictures_are_not_copies():
    picture = scene(0)
    assert groups_of(picture, picture[:, ::-1], picture[::-1], np.rot90(picture)).groups == ()


def test_near_can_be_left_out():
    picture = scene(0)
    found = groups_of(picture, jpeg(picture, 75), picture, near=False)
    assert (found.exact, found.near) == (((0, 2),), ())


def test_exact_copies_join_the_near_group_of_their_twin():
    picture, other = scene(0), scene(1)
    again = jpeg(picture, 80)
    found = groups_of(picture, other, again, again, other)
    assert found.exact == ((1, 4), (2, 3))
    assert found.near == ((0, 2, 3),)
    assert found.groups == ((0, 2, 3), (1, 4))
    assert found.group.tolist() == [0, 1, 0, 0, 1]


def test_same_pixels_in_another_file_format_are_exact(tmp_path):
    for k in "ab":
        (tmp_path / k).mkdir()
    picture = Image.fromarray(scene(0))
    picture.save(tmp_path / "a/1.png")
    picture.save(tmp_path / "a/2.bmp")
    picture.save(tmp_path / "b/3.webp", lossless=True)
    Image.fromarray(scene(1)).save(tmp_path / "b/4.png")
    assert duplicate_groups(open_source(tmp_path)).exact == ((0, 1, 2),)


def test_same_pixel_bytes_in_another_shape_are_different():
    pixels = scene(0, 20, 30)
    assert groups_of(pixels, pixels.reshape(30, 20, 3), near=False).exact == ()


def test_unreadable_files_are_listed_and_stand_alone(tmp_path):
    for k in "ab":
        (tmp_path / k).mkdir()
        Image.fromarray(scene(ord(k))).save(tmp_path / k / "0.png")
        (tmp_path / k / "1.png").write_bytes(b"")
        (tmp_path / k / "2.png").write_bytes((tmp_path / k / "0.png").read_bytes()[:1000])
    found = duplicate_groups(open_source(tmp_path))
    assert [i for i, _ in found.unreadable] == [1, 2, 4, 5]
    assert all(reason for _, reason in found.unreadable)
    assert found.group.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("value", [0, 128, 255])
def test_nearly_constant_pictures_do_not_match_by_accident(value):
    rng = np.random.default_rng(0)
    flat = [np.clip(value + rng.integers(-2, 3, (60, 80, 3)), 0, 255).astype(np.uint8) for _ in range(6)]
    solid = [np.full((60, 80, 3), value, np.uint8), np.full((60, 80, 3), value // 2 + 3, np.uint8)]
    assert groups_of(*flat, *solid).near == ()


def test_tiny_pictures_are_compared_exactly_only():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 200, (15, 40, 3), dtype=np.uint8)
    brighter = picture + np.uint8(20)
    assert groups_of(picture, brighter, picture).groups == ((0, 2),)
    wider = [np.repeat(a, 2, axis=0) for a in (picture, brighter)]
    assert groups_of(*wider).near == ((0, 1),)


def test_a_ladder_does_not_chain():
    # cos(0.17) = .986 between neighbours, cos(0.34) = .943 between the ends.
    a, b = (gaussian_filter(np.random.default_rng(s).normal(size=(96, 96)), 4) for s in (0, 1))
    a, b = a / a.std(), b - (b * a).mean() * a / (a * a).mean()
    b /= b.std()
    rungs = [128 + 35 * (np.cos(t) * a + np.sin(t) * b) for t in (0, 0.17, 0.34)]
    images = [np.clip(rung, 0, 255).astype(np.uint8) for rung in rungs]
    assert groups_of(*images[:2]).near == ((0, 1),)
    assert groups_of(*images[1:]).near == ((0, 1),)
    assert groups_of(images[0], images[2]).near == ()
    found = groups_of(*images)
    assert sorted(np.bincount(found.group).tolist()) == [1, 2]
    assert found.group[0] != found.group[2]


def test_the_result_does_not_depend_on_the_run():
    images = [
        CHANGES[name](scene(seed)) for seed in range(3) for name in ("recompressed", "shifted", "noisy")
    ]
    first, second = groups_of(*images), groups_of(*images)
    assert first.near == second.near
    assert first.near == ((0, 1, 2), (3, 4, 5), (6, 7, 8))


def test_progress_counts_every_item():
    seen = []
    groups_of(*(scene(s) for s in range(5)), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 5) for i in range(1, 6)]


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 9))
    possible = [(i, j) for i in range(n) for j in range(i + 1, n)]
    chosen = draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []
    strength = draw(
        st.lists(st.sampled_from([0.985, 0.99, 0.995]), min_size=len(chosen), max_size=len(chosen))
    )
    return n, sorted(chosen), strength


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_linkage_is_complete_maximal_and_keeps_the_strongest_pair(graph):
    n, pairs, strength = graph
    group = _complete_linkage(n, np.array(pairs, np.int64).reshape(-1, 2), np.array(strength, np.float32))
    known = set(pairs)
    members = [np.flatnonzero(group == g).tolist() for g in np.unique(group)]
    for inside in members:
        assert all((i, j) in known for i in inside for j in inside if i < j)
    for p in members:
        for q in members:
            across = [(min(i, j), max(i, j)) in known for i in p for j in q]
            assert p is q or not all(across)
    if pairs:
        i, j = pairs[int(np.argmax(strength))]
        assert group[i] == group[j]


def test_thumbnails_in_a_file_give_the_groups_of_those_in_memory(monkeypatch):
    images = [
        CHANGES[name](scene(seed)) for seed in range(4) for name in ("recompressed", "shifted", "noisy")
    ]
    wanted = groups_of(*images, *images[:2])
    monkeypatch.setattr(thumbnails, "IN_MEMORY", 3)
    monkeypatch.setattr(duplicates, "_BLOCK", 5)
    monkeypatch.setattr(duplicates, "_CHUNK", 2)
    found = groups_of(*images, *images[:2])
    assert (found.exact, found.near) == (wanted.exact, wanted.near)
    assert found.group.tolist() == wanted.group.tolist()
    assert len(wanted.near) == 4


class _Undecodable:
    """Bytes that must not be decoded."""

    def __init__(self, *files):
        self.files = files

    def __len__(self):
        return len(self.files)

    def name(self, i):
        return str(i)

    def stored(self, i):
        if self.files[i] is None:
            raise UnreadableImage(str(i), "gone")
        return self.files[i]


def test_equal_files_are_found_without_decoding():
    items = _Undecodable(b"a", b"b", None, b"a", b"", b"b", b"a", None)
    source = Source("made", items, np.zeros(8, np.int64), ("x",), ("",) * 8)
    found = duplicate_groups(source, stored=True)
    assert found.exact == ((0, 3, 6), (1, 5))
    assert found.near == ()
    assert found.group.tolist() == [0, 1, 2, 0, 3, 1, 0, 4]
    assert found.unreadable == ((2, "gone"), (7, "gone"))
