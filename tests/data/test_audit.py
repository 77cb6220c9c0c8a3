import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from tailgrad.checks import InputError
from tailgrad.data import Source, choose, open_source
from tailgrad.data.audit import Audit, GroupCount, Sizes, audit
from tailgrad.data.audit_text import audit_text
from tailgrad.data.recommendation import recommend


def picture(seed, height=48, width=64):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width, 3)), (3, 3, 0))
    return Image.fromarray(np.clip(128 + 40 * noise / noise.std(), 0, 255).astype(np.uint8))


@pytest.fixture
def messy(tmp_path):
    """Two classes with a bit of everything that goes wrong."""
    root = tmp_path / "messy"
    for k, n in (("cat", 8), ("dog", 4)):
        (root / k).mkdir(parents=True)
        for i in range(n):
            picture(100 * ord(k[0]) + i).save(root / k / f"{i}.png")
    picture(1, 90, 60).save(root / "cat" / "tall.bmp")
    same = (root / "cat" / "0.png").read_bytes()
    (root / "dog" / "same.png").write_bytes(same)
    Image.open(io.BytesIO(same)).save(root / "cat" / "near.jpg", quality=85)
    (root / "dog" / "broken.png").write_bytes(same[:200])
    (root / "dog" / "empty.jpg").write_bytes(b"")
    (root / "cat" / "notes.txt").write_text("not an image")
    return root


@pytest.fixture
def found(messy):
    return audit(str(messy))


def test_counts_sizes_and_formats(found):
    assert (found.images, found.classes) == (17, {"cat": 10, "dog": 7})
    assert found.imbalance_factor == pytest.approx(10 / 7)
    assert found.sizes == Sizes(2, (48, 64), (90, 60), (48, 64), (48, 48, 60), (60 / 90, 64 / 48, 64 / 48))
    assert found.formats["BMP"] == 1
    assert sum(found.formats.values()) == 17
    assert found.parts == {}
    assert [name for name in found.ignored if "notes" in name] == ["cat/notes.txt"]
    assert sorted(name for name, _ in found.unreadable) == ["dog/broken.png", "dog/empty.jpg"]


def test_duplicates_and_conflicts_are_named(found):
    assert (found.exact.groups, found.exact.files) == (1, 2)
    assert (found.near.groups, found.near.files, found.near.largest) == (1, 3, 3)
    assert found.duplicates == found.near
    (conflict,) = found.conflicts
    assert conflict.names == ("cat/0.png", "cat/near.jpg", "dog/same.png")
    assert conflict.classes == ("cat", "cat", "dog")
    assert not conflict.exact
    assert found.leakage == ()


def test_without_near_the_recompressed_copy_is_not_seen(messy):
    found = audit(messy, near=False)
    assert (found.exact.groups, found.near.groups, found.near_searched) == (1, 0, False)
    assert found.conflicts[0].exact
    assert "Near duplicates: not looked for" in str(found)


def test_json_holds_plain_values_only(found):
    found = found.to_dict()
    text = json.dumps(found)
    again = json.loads(text)
    assert again["classes"] == {"cat": 10, "dog": 7}
    assert again["conflicts"][0]["names"] == ["cat/0.png", "cat/near.jpg", "dog/same.png"]
    assert again["recommendation"] == found["recommendation"]
    assert again["sizes"]["smallest"] == [48, 64]

    def types(value):
        inner = (
            value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
        )
        return {type(value)}.union(*map(types, inner))

    assert types(found) <= {dict, list, tuple, str, int, float, bool, type(None)}


def test_the_text_says_it_all(found, messy):
    text = str(found)
    for line in (
        "messy: 17 images, 2 classes, imbalance factor 1.4",
        "  cat       10   58.8%",
        "Sizes (height x width): 48 x 64 to 90 x 60, median 48 x 64, 2 different",
        "Given split: none",
        "Unreadable: 2",
        "Exact duplicates: 1 group, 2 files, largest 2",
        "Copies with different labels: 1",
        "  near: cat/0.png (cat), dog/same.png (dog), cat/near.jpg (cat)",
    ):
        assert line in text.splitlines()
    methods = "--methods ce,balanced_softmax,csba --seeds 3"
    command = f"tailgrad compare {messy} --set data.skip_unreadable=true {methods}"
    assert text.splitlines()[-1].endswith(command)


def test_leakage_between_given_parts(tmp_path):
    for part, seeds in (("train", (0, 1, 2, 3)), ("test", (3, 4, 5, 6))):
        for i, seed in enumerate(seeds):
            folder = tmp_path / part / "ab"[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            picture(seed).save(folder / f"{i}.png")
    found = audit(tmp_path)
    assert found.parts == {"train": 4, "test": 4}
    (leak,) = found.leakage
    assert sorted(zip(leak.parts, leak.names, strict=True)) == [
        ("test", "test/a/0.png"),
        ("train", "train/b/3.png"),
    ]
    assert any("given split has 1 picture on both sides" in line for line in found.recommendation)
    assert "Copies in different parts of the given split: 1" in str(found)


def test_expected_copies_follow_from_the_group_sizes():
    # Simulation of a random fifth of the files, independent of the formula.
    images = [np.full((8, 8), v, np.uint8) for v in (1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 5)]
    found = audit((images, [0, 1] * 5 + [0]), near=False)
    group = np.array([1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 5])
    rng, total = np.random.default_rng(0), 0
    for _ in range(20_000):
        test = rng.random(11) < 0.2
        total += sum(test[i] and (~test & (group == group[i])).any() for i in range(11))
    assert found.exact.expected_in_test == pytest.approx(total / 20_000, rel=0.03)


def test_one_class_is_audited_and_none_is_refused():
    source = open_source("digits-lt")
    zeros = choose(source, np.flatnonzero(source.labels == 0)[:30])
    found = audit(zeros)
    assert found.imbalance_factor == 1
    assert found.recommendation[0].startswith("Add images of another class")
    with pytest.raises(InputError, match="must hold images, got none in 'digits-lt'"):
        audit(choose(source, []))


def test_all_images_unreadable(tmp_path):
    for k in "ab":
        (tmp_path / k).mkdir()
        (tmp_path / k / "0.png").write_bytes(b"no image")
    found = audit(tmp_path)
    assert found.sizes is None
    assert len(found.unreadable) == 2
    assert "Unreadable: 2" in str(found)


def test_names_cannot_rewrite_the_terminal():
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8), dtype=np.uint8)
    source = open_source((images, ["\x1b[2Jred\n", "x" * 300, "<b>", "ä"]))
    text = str(audit(source))
    assert "\x1b" not in text
    assert "  ?[2Jred " in text
    assert max(map(len, text.splitlines()[:8])) < 100


def test_progress_reaches_the_end():
    seen = []
    audit("digits-lt", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (1797, 1797)


NONE = GroupCount(0, 0, 0, 0.0, ())


def facts(**changes):
    plain = Audit(
        source="plain",
        command_source="'my photos/'",
        images=300,
        classes={"a": 200, "b": 100},
        imbalance_factor=2.0,
        sizes=Sizes(1, (256, 256), (256, 256), (256, 256), (256, 256, 256), (1.0, 1.0, 1.0)),
        formats={"JPEG": 300},
        parts={},
        ignored=(),
        unreadable=(),
        near_searched=True,
        exact=NONE,
        near=NONE,
        duplicates=NONE,
        conflicts=(),
        leakage=(),
    )
    return replace(plain, **changes)


def sizes(short):
    return Sizes(1, (short, short), (short, short), (short, short), (short, short, short), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "imbalance factor is 2.0: judge by macro-F1"),
        ({"imbalance_factor": 1.2}, "nearly balanced (imbalance factor 1.2)"),
        ({"classes": {"a": 200, "b": 2}}, "'b': fewer than 3 images, which cannot be split"),
        ({"classes": {"a": 200, "b": 19}}, "'b': fewer than 20 images"),
        ({"classes": dict.fromkeys("abcdefg", 5)}, "'a', 'b', 'c', 'd', 'e' and 2 more: fewer than 20"),
        ({"unreadable": (("x", "why"),)}, "Replace or remove the 1 unreadable file,"),
        ({"duplicates": GroupCount(3, 8, 4, 1.3, ())}, "8 files lie in 3 groups, and a random 20 % test set"),
        ({"duplicates": GroupCount(1, 2, 2, 0.32, ())}, "would on average hold 0.3 images with a copy"),
        ({"duplicates": GroupCount(9, 80, 9, 12.4, ())}, "would on average hold 12 images with a copy"),
        ({"sizes": sizes(256)}, "--set data.size=224"),
        ({"sizes": sizes(100)}, "--set data.size=96"),
        ({"sizes": sizes(40)}, "train at their own size"),
        ({"sizes": sizes(24)}, "they are enlarged"),
        ({"classes": {"a": 200, "b": 100, "c": 0}}, "Rarest is 'b' with 100 images"),
        ({}, "Then run: tailgrad compare 'my photos/' --methods ce,balanced_softmax,csba --seeds 3"),
    ],
)
def test_advice_follows_the_findings(changes, sentence):
    assert any(sentence in line for line in recommend(facts(**changes)))


def test_a_clean_data_set_gets_no_warnings():
    advice = " ".join(recommend(facts()))
    assert not any(
        word in advice for word in ("Check", "Replace", "Keep copies", "fewer than", "given split")
    )
    assert audit_text(facts()).count("none") >= 4


def test_long_lists_are_cut():
    names = tuple((f"file {i}", "empty") for i in range(50))
    text = audit_text(facts(unreadable=names, classes={f"class {i}": 300 - i for i in range(60)}))
    assert "file 9: empty" in text
    assert "file 10: empty" not in text
    assert "  and 40 more\n" in text
    assert "  and 40 more, down to 241" in text


def test_source_objects_get_a_placeholder_or_the_given_spelling():
    source = choose(open_source("digits-lt"), range(40))
    assert isinstance(source, Source)
    assert audit(source).recommendation[-1].split()[4] == "SOURCE"
    assert audit(source, command_source="digits-lt").recommendation[-1].split()[4] == "digits-lt"
