"""What an audit says where images have several labels, against counting by hand."""

import itertools
import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tailgrad.data import Source, open_source
from tailgrad.data.audit import Audit, audit
from tailgrad.data.label_audit import ALIKE, label_facts
from tailgrad.data.pictures import Pictures

NAMES = ("cat", "dog", "ball", "tree")


def source_of(has: Sequence[Sequence[int]], same: tuple[int, int] | None = None) -> Source:
    """Pictures of noise with these labels; two of them show the same where asked."""
    indicators = np.array(has, np.uint8)
    pixels = np.random.default_rng(0).integers(0, 256, (len(has), 8, 8, 3), np.uint8)
    if same is not None:
        pixels[same[1]] = pixels[same[0]]
    n = len(has)
    return Source(
        name="made",
        items=Pictures(pixels),
        labels=np.zeros(n, np.int64),
        class_names=NAMES[: indicators.shape[1]],
        given=("",) * n,
        indicators=indicators,
    )


def looked(has: Sequence[Sequence[int]], **changes: tuple[int, int]) -> Audit:
    return audit(source_of(has, **changes), near=False, command_source="list.csv --labels-column labels")


matrices = st.integers(1, 4).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 1), min_size=k, max_size=k), min_size=1, max_size=25)
)


@given(has=matrices)
def test_facts_are_those_of_counting(has: list[list[int]]) -> None:
    facts = label_facts(source_of(has))
    assert facts is not None
    each = [sum(row) for row in has]
    counts = [sum(row[k] for row in has) for k in range(len(has[0]))]
    assert facts.cardinality == pytest.approx(sum(each) / len(has))
    assert (facts.most, facts.without) == (max(each), each.count(0))
    assert facts.sets == len({tuple(row) for row in has})
    present = [n for n in counts if n]
    expected = sum(max(present) / n for n in present) / len(present) if present else 1.0
    assert facts.mean_imbalance == pytest.approx(expected)
    assert facts.always == tuple(NAMES[k] for k, n in enumerate(counts) if n == len(has))


@given(has=matrices)
def test_labels_that_seldom_come_alone_are_named(has: list[list[int]]) -> None:
    facts = label_facts(source_of(has))
    assert facts is not None
    found = {(a, b): (n, share) for a, b, n, share in facts.together}
    for i, j in itertools.combinations(range(len(has[0])), 2):
        both = sum(row[i] and row[j] for row in has)
        either = sum(row[i] or row[j] for row in has)
        pair = NAMES[i], NAMES[j]
        if either and both >= ALIKE * either:
            assert found.pop(pair) == (both, pytest.approx(both / either))
    assert not found
    shares = [share for *_, share in facts.together]
    assert shares == sorted(shares, reverse=True)


def test_one_class_an_image_has_no_such_facts() -> None:
    assert label_facts(open_source("digits-lt")) is None
    assert audit("digits-lt", near=False).labels is None


@pytest.fixture
def found() -> Audit:
    has = [[1, 0, 0, 0]] * 12 + [[1, 1, 1, 0]] * 2 + [[0, 0, 0, 0]] * 3 + [[0, 1, 1, 0]] * 1
    return looked(has)


def test_the_text_speaks_of_labels(found: Audit) -> None:
    lines = str(found).splitlines()
    assert lines[0] == "made: 18 images, 4 labels, imbalance factor 4.7"
    assert "Labels an image: 1.11 on average, at most 3, in 4 different sets" in lines
    assert "Images without a label: 3" in lines
    assert "Labels that seldom come alone: 1" in lines
    assert "  dog and ball: 3 images with both, 100% of those with either" in lines
    assert not any("class" in line for line in lines)


def test_advice_is_for_labels(found: Audit) -> None:
    said = " ".join(found.recommendation)
    assert "'tree': no image or every image has it" in said
    assert "3 images without a label will be taken as negatives" in said
    assert "'dog', 'ball' nearly always come together" in said
    assert "mean average precision" in said
    assert "--focus" not in said
    assert found.recommendation[-1] == (
        "Then run: tailgrad compare list.csv --labels-column labels "
        "--methods bce,asl,distribution_balanced,pairwise_auc --seeds 3"
    )


def test_nothing_is_said_of_labels_that_are_in_order() -> None:
    rows: NDArray[np.int64] = np.random.default_rng(3).integers(0, 2, (80, 3))
    rows[:, 0] |= rows.sum(1) == 0
    found = looked(rows.tolist())
    assert [text.partition(" ")[0] for text in found.recommendation] == ["The", "The", "Then"]


@pytest.mark.parametrize(
    ("has", "says"),
    [
        ([[0, 0]] * 4, "Add images that have labels: none has any."),
        ([[1, 1]] * 30 + [[1, 0]] * 25, "'cat': no image or every image has it"),
        (
            [[1, 0]] * 30 + [[1, 1]] * 2,
            "'dog': fewer than 3 images, which cannot be split. Add images, or leave",
        ),
    ],
)
def test_labels_that_cannot_be_learnt_are_named(has: list[list[int]], says: str) -> None:
    assert any(says in text for text in looked(has).recommendation)


def test_copies_with_other_labels_are_shown_with_all_of_theirs() -> None:
    found = looked([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], same=(1, 3))
    (copies,) = found.conflicts
    assert copies.names == ("row 1", "row 3")
    assert copies.classes == ("cat; dog", "no label")
    assert "same: row 1 (cat; dog), row 3 (no label)" in str(found)
    assert any("a label that one copy has and another lacks" in text for text in found.recommendation)


def test_copies_with_the_same_labels_are_no_conflict() -> None:
    assert looked([[1, 0], [1, 1], [0, 1], [1, 1]], same=(1, 3)).conflicts == ()


def test_it_goes_into_json(found: Audit) -> None:
    back = json.loads(json.dumps(found.to_dict()))
    assert back["labels"]["without"] == 3
    assert back["labels"]["together"] == [["dog", "ball", 3, 1.0]]
    assert back["classes"] == {"cat": 14, "dog": 3, "ball": 3, "tree": 0}


def test_the_built_in_sets_are_as_the_page_says() -> None:
    found = audit("digits-multi-lt", near=False)
    counts = open_source("digits-multi-lt").counts
    assert tuple(found.classes.values()) == counts
    assert found.labels is not None
    assert found.labels.most == 4
