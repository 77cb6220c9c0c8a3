"""Tables with names of their own: their size, their imbalance, and that nothing in them is left to chance."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine

from tailgrad.checks import InputError
from tailgrad.data import open_source
from tailgrad.data.bundled_tables import open_bundled_table
from tailgrad.data.column import Categories, Numbers
from tailgrad.data.generated_rows import open_generated_rows
from tailgrad.data.table import rows_of
from tailgrad.recipes.compose import compose
from tailgrad.recipes.prepare import prepare


@pytest.mark.parametrize(
    ("name", "loader"), [("breast-cancer-lt", load_breast_cancer), ("wine-lt", load_wine)]
)
def test_bundled_tables_are_scikit_learn_s_with_the_classes_by_size(name: str, loader: object) -> None:
    bunch = loader()  # type: ignore[operator]
    source, rows = open_source(name), rows_of(open_source(name))
    assert rows is not None
    np.testing.assert_array_equal(np.column_stack([c.values for c in rows.columns]), bunch.data)  # type: ignore[union-attr]
    assert [source.class_names[k] for k in source.labels] == [bunch.target_names[k] for k in bunch.target]
    assert list(source.counts) == sorted(source.counts, reverse=True)
    with pytest.raises(InputError, match="name must be a known name, got 'iris'"):
        open_bundled_table("iris")


def test_training_rows_become_imbalanced_and_test_rows_do_not() -> None:
    ready = prepare(compose("breast-cancer-lt", "table", "ce"))
    test = ready.source.counts_of(ready.split.test)
    assert ready.classes.imbalance_factor == pytest.approx(10, rel=0.15)
    assert test == (round(0.2 * 357), round(0.2 * 212))


def test_generated_rows_are_as_many_and_as_rare_as_asked() -> None:
    source = open_generated_rows(rows=2002, factor=1000)
    assert source.counts == (2000, 2)
    assert open_source("generated-rows-small").counts == (2903, 97)
    rows = rows_of(source)
    assert rows is not None
    assert [type(c) for c in rows.columns] == [Numbers] * 12 + [Categories] * 3
    missing = [c.name for c in rows.columns if c.missing.any()]
    assert missing == ["number_0", "words_1"]


def test_generated_rows_are_fixed_by_their_seed() -> None:
    first, again, other = (open_generated_rows(rows=300, factor=9, seed=seed) for seed in (1, 1, 2))
    assert [first.items.stored(i) for i in range(300)] == [again.items.stored(i) for i in range(300)]
    assert first.items.stored(0) != other.items.stored(0)


def test_the_rare_class_can_be_told_by_the_columns_that_say_something() -> None:
    source = open_generated_rows(rows=4000, factor=9)
    rows = rows_of(source)
    assert rows is not None
    x = np.column_stack([c.values for c in rows.columns if isinstance(c, Numbers)])
    gap = np.abs(np.nanmean(x[source.labels == 1], 0) - np.nanmean(x[source.labels == 0], 0)) / np.nanstd(
        x, 0
    )
    assert gap[:6].min() > 3 * gap[6:].max()
