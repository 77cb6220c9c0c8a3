"""Data frames of pandas and Polars as tables: index, categories, times, and values that are no numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tailgrad.checks import InputError
from tailgrad.data.column import Categories, Numbers
from tailgrad.data.table import TableRows, class_words, open_table, read_table
from tailgrad.data.table_columns import column_of, decoded, remarks_on
from tailgrad.data.table_encoding import FAR, TableEncoding


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": [1.0, 4.0, 9.0, 16.0], "y": ["no", "yes", "no", "yes"], **columns})


def names(table: Any) -> list[str]:
    return [column.name for column in open_table(table, "y").items.columns]  # type: ignore[attr-defined]


# The index


@pytest.mark.parametrize("index", [[3, 0, 2, 1], list("dacb"), [[1, 1, 2, 2], [0, 1, 0, 1]]])
def test_the_nameless_index_of_pandas_is_no_feature(index: Any, tmp_path: Path) -> None:
    shuffled = frame().set_axis(pd.MultiIndex.from_arrays(index) if len(index) == 2 else index)
    assert any(name.startswith("__index") for name in pa.table(shuffled).column_names)
    shuffled.to_parquet(tmp_path / "a.parquet")
    assert names(shuffled) == names(tmp_path / "a.parquet") == ["x"]


def test_an_index_with_a_name_is_a_column_as_it_is_in_the_file(tmp_path: Path) -> None:
    named = frame(town=list("abca")).set_index("town")
    named.to_csv(tmp_path / "a.csv")
    assert set(names(named)) == set(names(tmp_path / "a.csv")) == {"x", "town"}


def test_an_index_that_a_csv_holds_without_a_name_is_warned_of(tmp_path: Path) -> None:
    frame().iloc[[3, 1, 0]].to_csv(tmp_path / "a.csv")
    source = open_table(tmp_path / "a.csv", "y")
    assert source.items.remarks == (  # type: ignore[attr-defined]
        "column '' has no name, as an index that was saved along: leave it out with --drop ''",
    )
    dropped = open_table(tmp_path / "a.csv", "y", drop=[""])
    assert [column.name for column in dropped.items.columns] == ["x"]  # type: ignore[attr-defined]


# Categories


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pd.Categorical([3, 1, None, 3]), ("1", "3")),
        (pd.Categorical(["lo", "hi", None, "lo"], categories=["lo", "hi"], ordered=True), ("hi", "lo")),
        (pd.Categorical([True, False, None, True]), ("false", "true")),
    ],
)
def test_what_a_frame_holds_as_categories_is_no_number(values: Any, words: tuple[str, ...]) -> None:
    found = column_of("c", read_table(frame(c=values))["c"])
    assert isinstance(found, Categories)
    assert found.words == words
    text = ["" if pd.isna(v) else str(v).lower() for v in values]
    assert [words[k] if k >= 0 else "" for k in found.codes] == text


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_dictionaries_of_every_kind_of_text_are_read(kind: pa.DataType) -> None:
    """Polars holds its categories as positions in a dictionary of views, of which Arrow takes none."""
    chunks = [
        pa.DictionaryArray.from_arrays(pa.array([1, None, 0]), pa.array(["u", "v"], kind)),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 1]), pa.array(["w", "u"], kind)),
    ]
    values = pa.chunked_array(chunks)
    wanted = ["v", None, "u", "w", "u", "u"]
    assert decoded(values).to_pylist() == wanted
    found = column_of("c", values)
    assert isinstance(found, Categories)
    assert [found.words[k] if k >= 0 else None for k in found.codes] == wanted
    target = open_table(pa.table({"x": [1, 2, 3], "y": pa.chunked_array(chunks[1:])}), "y")
    assert [target.class_names[k] for k in target.labels] == ["w", "u", "u"]


def test_polars_frames_come_through() -> None:
    polars = pytest.importorskip("polars")
    table = polars.DataFrame(
        {"c": ["u", "v", None], "e": ["a", "b", "a"], "x": [1.0, None, 2.0]}
    ).with_columns(polars.col("c").cast(polars.Categorical), polars.col("e").cast(polars.Enum(["b", "a"])))
    source = open_table(table, "e")
    assert (source.class_names, source.labels.tolist()) == (("a", "b"), [0, 1, 0])
    assert [column.missing.tolist() for column in source.items.columns] == [  # type: ignore[attr-defined]
        [False, False, True],
        [False, True, False],
    ]


@pytest.mark.parametrize("role", ["x", "y"])
def test_intervals_are_refused_by_name(role: str) -> None:
    cut = frame(**{role: pd.cut(pd.Series([1.0, 4.0, 9.0, 16.0]), 2)})
    with pytest.raises(InputError, match=rf"'{role}' must hold one .* got extension<pandas.interval"):
        open_table(cut, "y")


def test_a_column_of_several_kinds_is_named() -> None:
    with pytest.raises(InputError, match=r"column mixed .*with one kind of value in each column"):
        open_table(frame(mixed=[1, "a", 2.5, None]), "y")


# Times


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_are_days_in_every_unit(unit: str) -> None:
    stated = ["1970-01-02 00:00", "2020-02-29 06:00", None, "1960-01-01 12:00"]
    times = pd.to_datetime(stated).astype(f"datetime64[{unit}]")
    found = column_of("t", read_table(frame(t=times))["t"])
    wanted = [(time - pd.Timestamp(0)) / pd.Timedelta(days=1) for time in times.dropna()]
    assert isinstance(found, Numbers)
    np.testing.assert_array_equal(found.missing, [False, False, True, False])
    np.testing.assert_allclose(found.values[~found.missing], wanted, rtol=1e-15)


def test_nanoseconds_are_no_fault() -> None:
    found = column_of("t", pa.chunked_array([pa.array([1, 86_400 * 10**9 + 1], pa.timestamp("ns"))]))
    assert isinstance(found, Numbers)
    np.testing.assert_allclose(found.values, [1 / 86_400e9, 1.0])


def test_times_with_a_zone_are_those_of_utc() -> None:
    there = pd.to_datetime(["2020-01-01 12:00"] * 4).tz_localize("Europe/Oslo")
    here = there.tz_convert("UTC").tz_localize(None)
    both = [column_of("t", read_table(frame(t=times))["t"]) for times in (there, here)]
    assert both[0].values.tolist() == both[1].values.tolist()  # type: ignore[union-attr]


# Values that are no numbers, or too large to be some


def test_a_number_that_is_none_is_missing_and_no_category() -> None:
    values = pa.chunked_array([[1.0, float("nan"), 2.5]])
    found = column_of("c", values, category=True)
    assert isinstance(found, Categories)
    assert (found.words, found.codes.tolist()) == (("1", "2.5"), [0, -1, 1])
    assert class_words(pa.chunked_array([[1.0, float("nan"), 0.0]])) == ["1", None, "0"]
    with pytest.raises(InputError, match=r"label of row 1 \(column 'y'\) must not be blank"):
        open_table(pa.table({"x": [1, 2, 3], "y": [1.0, float("nan"), 0.0]}), "y")


def test_numbers_whose_square_overflows_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"'x' must be at most 1e\+100 in size, got -1e\+200 in row 1 and 1 more"
    ):
        column_of("x", pa.chunked_array([[1e100, -1e200, 1e308]]))


def test_rows_far_out_stay_finite_and_in_order() -> None:
    train = TableRows([Numbers("x", np.array([0.0, 2.0]))], "y")
    encoding = TableEncoding.fit(train, [0, 1], ("a", "b"))
    far = TableRows([Numbers("x", np.array([-1e99, -1e5, 3.0, 1e5, 1e99]))], "y")
    found = encoding.encode(far).numbers[:, 0]
    assert found.tolist() == [-FAR, -100_001.0, 2.0, 99_999.0, FAR]


def test_no_training_row_is_so_far_out_that_it_is_cut() -> None:
    """One row apart from N - 1 equal ones lies the root of N - 1 deviations out, the most there can be."""
    x = np.zeros(10_000)
    x[0] = 1e90
    rows = TableRows([Numbers("x", x)], "y")
    found = TableEncoding.fit(rows, np.arange(len(x)), ("a", "b")).encode(rows).numbers
    np.testing.assert_allclose(found.max(), np.sqrt(len(x) - 1), rtol=1e-6)


def test_remarks_name_a_column_without_a_name_whatever_it_holds() -> None:
    for column in (Numbers("", np.array([1.5, 2.0])), Categories("", np.array([0, 1]), ("a", "b"))):
        assert "has no name" in remarks_on(column)[0]
