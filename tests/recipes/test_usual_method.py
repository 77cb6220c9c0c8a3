"""One rule for `tailgrad new` and class_imbalance="auto"."""

import pytest

from tailgrad.integrations import choose_for
from tailgrad.recipes.chosen_settings import _method
from tailgrad.recipes.usual_method import usual_method


@pytest.mark.parametrize(("counts", "method"), [([149, 100], "ce"), ([150, 100], "balanced_softmax")])
def test_new_and_auto_choose_alike(counts: list[int], method: str) -> None:
    factor = counts[0] / counts[1]
    assert usual_method(factor)[0] == _method(factor)[0] == method
    chosen = choose_for(counts, "auto")
    assert (chosen.loss is None) == (method == "ce")
    assert usual_method(factor)[1] in chosen.text
    assert usual_method(factor)[1] in _method(factor)[1]
