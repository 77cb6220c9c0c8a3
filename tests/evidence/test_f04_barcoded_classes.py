"""Zipf counts against the law itself, and barcodes read back from what was made."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.evidence.analyses.barcoded_classes import barcoded, zipf_counts
from tailgrad.evidence.analyses.small_sets import Part


@given(classes=st.integers(1, 60), spare=st.integers(0, 500), exponent=st.floats(0, 2))
def test_counts_fall_add_up_and_leave_no_class_out(classes: int, spare: int, exponent: float) -> None:
    counts = zipf_counts(classes, classes + spare, exponent)
    assert counts.sum() == classes + spare
    assert counts.min() >= 1
    assert (np.diff(counts) <= 1).all()


def test_large_counts_follow_the_law() -> None:
    counts = zipf_counts(100, 1_000_000, 1.0)
    law = 1_000_000 / np.arange(1, 101) / sum(1 / k for k in range(1, 101))
    assert counts[1:] == pytest.approx(law[1:], abs=1)
    assert zipf_counts(8, 800, 0.0).tolist() == [100] * 8


def test_fewer_examples_than_classes_are_refused() -> None:
    with pytest.raises(InputError, match="total"):
        zipf_counts(10, 9, 1.0)


def test_classes_can_be_read_off_what_was_made() -> None:
    shown = torch.tensor([0, 0, 1, 2, 2, 2])
    part = Part(torch.nn.functional.one_hot(shown).float(), shown)
    counts = zipf_counts(12, 60, 1.0)
    order = np.random.default_rng(0).permutation(12)
    made = barcoded(part, counts, 3, 2, seed=0, order=order)
    bits = (made.inputs[:, 3:] > 0).long()
    assert torch.equal(made.inputs[:, :3].argmax(1) + 3 * (bits[:, 0] + 2 * bits[:, 1]), made.target)
    assert made.target.bincount()[torch.as_tensor(order)].tolist() == counts.tolist()
    again = barcoded(part, counts, 3, 2, seed=0, order=order)
    assert torch.equal(made.inputs, again.inputs)
