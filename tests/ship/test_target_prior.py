"""Class frequencies at the place of use: every way to give them, every way to give them wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.ship.decision import softmax
from tailgrad.ship.target_prior import prior_shift, target_prior

NAMES, COUNTS = ("cat", "dog", "x=y"), (60, 30, 10)
GIVEN = {"cat": 0.2, "dog": 0.3, "x=y": 0.5}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.json", json.dumps(GIVEN)),
        ("p.json", "[0.2, 0.3, 0.5]"),
        ("p.yaml", "dog: 0.3\ncat: 0.2\nx=y: 0.5\n"),
        ("p.csv", "class,frequency\nx=y,0.5\ncat,0.2\n\ndog,0.3\n"),
        ("p.csv", "\ufeffclass,frequency\r\nx=y,0.5\r\ncat,0.2\r\ndog,0.3\r\n"),
        ("p.json", "\ufeff" + json.dumps(GIVEN)),
    ],
)
def test_files_of_every_kind(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    assert target_prior(tmp_path / name, NAMES, COUNTS) == pytest.approx((0.2, 0.3, 0.5))


@pytest.mark.parametrize(
    ("given_as", "wanted"),
    [
        (GIVEN, (0.2, 0.3, 0.5)),
        ([0.2, 0.3, 0.5], (0.2, 0.3, 0.5)),
        ("cat=0.2, dog=0.3,x=y=0.5", (0.2, 0.3, 0.5)),
        ("uniform", (1 / 3, 1 / 3, 1 / 3)),
        ("train", (0.6, 0.3, 0.1)),
        ("cat=1,dog=0,x=y=0", (1, 0, 0)),
        ([0.333, 0.333, 0.333], (1 / 3, 1 / 3, 1 / 3)),
        (np.array([0.25, 0.25, 0.5], np.float32), (0.25, 0.25, 0.5)),
        (dict(zip(NAMES, np.array([0.25, 0.25, 0.5], np.float32), strict=True)), (0.25, 0.25, 0.5)),
    ],
)
def test_words_and_numbers(given_as: object, wanted: tuple[float, ...]) -> None:
    assert target_prior(given_as, NAMES, COUNTS) == pytest.approx(wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given_as", "said"),
    [
        ("cat=0.5,dog=0.5,x=y=0.5", "must sum to 1, got 1.5"),
        ([0.2, 0.2, 0.2], "must sum to 1, got 0.6"),
        ([0.5, 0.5], r"one frequency a class \(3\), got 2"),
        ("cat=0.5,dgo=0.3,x=y=0.2", "got 'dgo'; did you mean 'dog'"),
        ("cat=0.5,dog=0.5", "got none for x=y"),
        ({"cat": 2, "dog": -1, "x=y": 0}, r"shares in \[0, 1\], got 2 for 'cat'"),
        ({"cat": True, "dog": 0, "x=y": 0}, "got True for 'cat'"),
        ({"cat": "a", "dog": 0, "x=y": 0}, "got a for 'cat'"),
        ([float("nan"), 0.5, 0.5], "got nan"),
        ("cat=often,dog=0.5,x=y=0.2", "'cat'='often'; give a number"),
        ("cat=0.5,cat=0.5", "'cat' twice"),
        ("unifrom", "must be uniform, train, class=frequency"),
        ("cat=0.5,dog", "'dog'=''; give a number"),
        (3, "must be class frequencies, got 3; give a mapping"),
        ("missing.json", "must be a readable file, got missing.json"),
    ],
)
def test_what_does_not_fit_is_named(given_as: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        target_prior(given_as, NAMES, COUNTS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.csv", "class,share\ncat,1\n", "columns class and frequency"),
        ("p.csv", "class,frequency\ncat,1,2\n", "two fields a row"),
        ("p.csv", "", "columns class and frequency"),
        ("p.csv", 'class,frequency\n"cat', "readable file"),
        ("p.json", "3", "got int"),
        ("p.json", "{", "readable file"),
        ("p.yaml", "cat: &a 1", r"got .* for 'cat'|every class"),
        ("p.yaml", "a: *b", "readable file"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        target_prior(tmp_path / name, NAMES, COUNTS)


def test_classes_named_by_numbers(tmp_path: Path) -> None:
    digits, counts = ("0", "1"), (1, 1)
    for given_as in ({0: 0.75, 1: 0.25}, {np.int64(0): 0.75, "1": 0.25}):
        assert target_prior(given_as, digits, counts) == (0.75, 0.25)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="must name a class once, got '0' twice"):
        target_prior({0: 0.5, "0": 0.5}, digits, counts)  # type: ignore[dict-item]
    file = tmp_path / "p.yaml"
    file.write_text("'0': 0.75\n'1': 0.25\n")
    assert target_prior(file, digits, counts) == (0.75, 0.25)
    file.write_text("0: 0.75\n1: 0.25\n")
    with pytest.raises(InputError, match=r"the key '0' is no text; put it in quotes at line 1.*; correct it"):
        target_prior(file, digits, counts)


@pytest.mark.parametrize("text", ["cat: 1e-3\ndog: 999e-3\nx=y: 0", "[1e-3, 0.999, 0]"])
def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    assert target_prior(tmp_path / "p.yaml", NAMES, COUNTS) == pytest.approx((0.001, 0.999, 0))
    (tmp_path / "p.yaml").write_text(text.replace("1e-3", "often"))
    with pytest.raises(InputError, match="got often for 'cat'; give a share"):
        target_prior(tmp_path / "p.yaml", NAMES, COUNTS)


shares = st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(lambda p: [x / sum(p) for x in p])


@given(shares, shares, st.lists(st.floats(0.01, 1), min_size=3, max_size=3))
def test_the_shift_is_bayes_rule(before: list[float], after: list[float], likelihood: list[float]) -> None:
    posterior = np.array(likelihood) * before
    posterior /= posterior.sum()
    wanted = np.array(likelihood) * after
    found = softmax((np.log(posterior) + prior_shift(before, after))[None])[0]
    np.testing.assert_allclose(found, wanted / wanted.sum(), atol=1e-12)


def test_a_class_that_does_not_occur_is_never_predicted() -> None:
    found = softmax(np.array([[9.0, 0.0, 0.0]]) + prior_shift([0.8, 0.1, 0.1], [0, 0.5, 0.5]))
    assert found[0, 0] < 1e-20
    sure = softmax(np.array([[500.0, 0.0, 0.0]]) + prior_shift([0.8, 0.1, 0.1], [0, 0.5, 0.5]))
    assert sure.tolist() == [[0.0, 0.5, 0.5]]


def test_a_class_never_seen_that_does_not_occur_gets_nothing() -> None:
    found = softmax(np.array([[1.0, 7.0, 0.0]]) + prior_shift([0.5, 0, 0.5], [0.5, 0, 0.5]))
    np.testing.assert_allclose(found, softmax(np.array([[1.0, -np.inf, 0.0]])))


@pytest.mark.parametrize("odd", ["a,b", "a,b=c", "a\u2028b", "a\nb", 'a "b"'])
def test_names_of_any_kind_are_found(tmp_path: Path, odd: str) -> None:
    names = ("plain", odd)
    quoted = odd.replace('"', '""')
    (tmp_path / "p.csv").write_text(f'class,frequency\n"{quoted}",0.75\nplain,0.25\n', "utf-8")
    assert target_prior(tmp_path / "p.csv", names, (1, 1)) == (0.25, 0.75)
    if odd.count("=") == 0:
        assert target_prior(f"{odd}=0.75,plain=0.25", names, (1, 1)) == (0.25, 0.75)
        assert target_prior(f"plain=0.25,{odd}=0.75", names, (1, 1)) == (0.25, 0.75)


@pytest.mark.parametrize("word", ["uniform", "train"])
def test_words_take_counts(word: str) -> None:
    with pytest.raises(InputError, match=rf"class by class, got '{word}' for a model without counts"):
        target_prior(word, NAMES, (0, 0, 0))


def test_uniform_leaves_out_what_was_never_seen() -> None:
    assert target_prior("uniform", NAMES, (3, 0, 5)) == (0.5, 0.0, 0.5)
    with pytest.raises(InputError, match=r"without training images, got 0\.2 for class 1"):
        prior_shift([0.5, 0, 0.5], [0.4, 0.2, 0.4])


def test_an_unknown_prior_cannot_be_shifted() -> None:
    with pytest.raises(InputError, match="must start from a known prior"):
        prior_shift(None, [0.5, 0.5])
