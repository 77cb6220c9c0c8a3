import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.evaluate import Evaluation, evaluate, evaluate_predictions, macro_f1
from tailgrad.types import ClassInfo

INFO = ClassInfo(("cat", "dog", "<b>emu</b>"), (300, 40, 6))


def example(images: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    target = random.integers(0, 3, images)
    return random.normal(size=(images, 3)) + 1.5 * np.eye(3)[target], target


def test_survives_json() -> None:
    found = evaluate(*example(), INFO)
    assert Evaluation.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


def test_figures_agree_with_their_definitions() -> None:
    logits, target = example()
    found = evaluate(logits, target, INFO)
    matrix = np.array(found.confusion)
    assert matrix.sum() == found.images == 90
    assert found.macro_f1.value == pytest.approx(macro_f1(matrix))
    assert found.accuracy.value == pytest.approx((logits.argmax(1) == target).mean())
    recalls = [row.recall.value for row in found.classes]
    assert found.balanced_accuracy.value == pytest.approx(np.mean(recalls))
    assert found.g_mean.value == pytest.approx(np.prod(recalls) ** (1 / 3))
    assert found.worst_class == min(found.classes, key=lambda row: row.f1.value).name
    assert found.nll.value == pytest.approx(
        float(torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(target)))
    )
    assert [row.train_count for row in found.classes] == [300, 40, 6]
    assert [group.name for group in found.groups] == ["many", "medium", "few", "head", "middle", "tail"]
    for part in (found.macro_f1, found.accuracy, found.balanced_accuracy, found.g_mean, found.nll):
        assert part.low < part.value < part.high


def test_tensors_and_arrays_agree_and_seed_decides() -> None:
    logits, target = example()
    found = evaluate(logits, target, INFO, seed=1)
    assert evaluate(torch.tensor(logits, requires_grad=True), torch.tensor(target), INFO, seed=1) == found
    assert evaluate(logits, target, INFO, seed=2).macro_f1 != found.macro_f1


@given(st.permutations([0, 1, 2]), st.floats(-50, 50))
def test_renaming_classes_and_shifting_logits_change_nothing(order: list[int], shift: float) -> None:
    logits, target = example(40)
    moved = ClassInfo(tuple(INFO.names[k] for k in order), tuple(INFO.counts[k] for k in order))
    first = evaluate(logits, target, INFO, resamples=0)
    second = evaluate(logits[:, order] + shift, np.argsort(order)[target], moved, resamples=0)
    for name in INFO.names:
        assert second.row(name).f1 == first.row(name).f1
        assert second.row(name).ece == pytest.approx(first.row(name).ece)
    assert second.macro_f1.value == pytest.approx(first.macro_f1.value)
    assert second.nll.value == pytest.approx(first.nll.value)


def test_predictions_alone_give_the_same_but_no_calibration() -> None:
    logits, target = example()
    whole, part = evaluate(logits, target, INFO), evaluate_predictions(logits.argmax(1), target, INFO)
    assert part.macro_f1 == whole.macro_f1
    assert part.groups == whole.groups
    assert (part.ece, part.nll, part.classes[0].ece) == (None, None, None)


def test_zero_denominators_are_counted_and_not_dropped() -> None:
    found = evaluate_predictions([0, 0, 0, 0], [0, 0, 0, 1], INFO)
    assert found.undefined == {"precision": 2, "recall": 1, "f1": 1}
    assert found.macro_f1.value == pytest.approx((6 / 7) / 3)
    assert found.balanced_accuracy.value == pytest.approx(1 / 3)
    assert found.g_mean.value == 0
    assert found.g_mean.high > 0.5
    assert found.worst_class == "dog"
    assert found.classes[2].recall.how.startswith("no image")


def test_one_image_and_one_class_do() -> None:
    found = evaluate([[0.0]], [0], ClassInfo(("only",), (1,)))
    assert found.macro_f1.value == 1
    assert found.macro_f1.low < 0.6
    assert found.ece == 0
    assert found.nll.value == 0
    assert found.nll.low is None


def test_no_resamples_no_bootstrap_interval() -> None:
    found = evaluate(*example(), INFO, resamples=0)
    assert found.macro_f1.low is found.g_mean.low is None
    assert found.accuracy.low is not None


def test_intervals_widen_with_the_level() -> None:
    narrow, wide = (evaluate(*example(), INFO, level=level).macro_f1 for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
    ("logits", "target", "options", "words"),
    [
        (np.zeros((0, 3)), [], {}, "N and K at least 1"),
        (np.zeros((2, 2)), [0, 1], {}, r"one column a class \(3\), got 2"),
        (np.zeros((2, 3)), [0, 3], {}, r"got target\[1\]=3"),
        (np.zeros((2, 3)), [0, 1, 2], {}, r"one entry an image \(2\), got 3"),
        (np.full((2, 3), np.nan), [0, 1], {}, "finite"),
        (np.zeros((2, 3)), [0, 1], {"resamples": -1}, "resamples"),
        (np.zeros((2, 3)), [0, 1], {"level": 95.0}, "level"),
    ],
)
def test_bad_input_is_named(
    logits: np.ndarray, target: list[int], options: dict[str, float], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        evaluate(logits, target, INFO, **options)


def test_unknown_row_is_named() -> None:
    with pytest.raises(InputError, match="got 'cow'; choose from"):
        evaluate(*example(), INFO, resamples=0).row("cow")


def test_it_is_printed_as_a_table_with_every_class_and_figure() -> None:
    found = evaluate(*example(), INFO)
    header, rule, *rows, blank, last = str(found).splitlines()
    assert header.split() == ["class", "train", "test", "precision", "recall", "F1"]
    assert set(rule) == {"─"}
    assert len(rule) == max(map(len, rows))
    for line, row in zip(rows, found.classes, strict=True):
        name, train, test, *figures = line.split()
        assert (name, int(train), int(test)) == (row.name, row.train_count, row.support)
        values = [float(figure) for figure in figures[::2]]
        assert values == pytest.approx([row.precision.value, row.recall.value, row.f1.value], abs=0.00501)
        low, high = (float(end) for end in figures[3].strip("[]").split("-"))
        assert (low, high) == pytest.approx((row.recall.low, row.recall.high), abs=0.00501)
    assert (blank, last) == (
        "",
        f"macro-F1 {found.macro_f1}   accuracy {found.accuracy}   worst class {found.worst_class}",
    )
    assert str(found).startswith(found.table())


def test_a_name_cannot_rewrite_the_terminal_or_drown_the_table() -> None:
    info = ClassInfo(("a\x1b[2Jb", "n" * 300), (5, 5))
    text = evaluate_predictions([0, 1], [0, 1], info, resamples=0).table()
    assert "\x1b" not in text
    assert "a?[2Jb" in text
    assert max(map(len, text.splitlines())) < 140


def test_in_a_session_it_takes_one_line() -> None:
    words = repr(evaluate(*example(), INFO))
    assert words.startswith("Evaluation(3 classes, 90 images, macro-F1 0.")
    assert "\n" not in words


def test_predictions_too_want_names_and_counts_of_classes() -> None:
    with pytest.raises(InputError, match="classes must be a ClassInfo .* got list"):
        evaluate_predictions([0, 1], [0, 1], ["cat", "dog"])  # type: ignore[arg-type]
