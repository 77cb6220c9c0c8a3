"""Tables: what becomes of every kind of column, and what is refused with column, row and remedy."""

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailgrad.checks import InputError
from tailgrad.data import audit, choose, duplicate_groups, make_split, open_source
from tailgrad.data.column import Categories, Numbers
from tailgrad.data.table import TableRows, open_table, read_table, rows_of
from tailgrad.data.table_columns import column_of, remarks_on
from tailgrad.data.table_options import TableOptions

TEXT = "age,town,dose,sick\n31,north,1.5,no\n40,south,,yes\n52,,2.5,no\n"


def written(folder: Path, text: str, name: str = "a.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def column(rows: TableRows, name: str) -> Any:
    return next(one for one in rows.columns if one.name == name)


def test_a_csv_becomes_numbers_categories_and_classes(tmp_path: Path) -> None:
    source = open_table(written(tmp_path, TEXT), "sick")
    rows = rows_of(source)
    assert rows is not None
    assert (source.class_names, source.labels.tolist(), source.regime) == (("no", "yes"), [0, 1, 0], "table")
    assert column(rows, "age").values.tolist() == [31, 40, 52]
    assert column(rows, "dose").missing.tolist() == [False, True, False]
    assert (column(rows, "town").words, column(rows, "town").codes.tolist()) == (
        ("north", "south"),
        [0, 1, -1],
    )


def test_the_same_table_comes_out_of_every_form(tmp_path: Path) -> None:
    file = written(tmp_path, TEXT)
    table = read_table(file)
    pq.write_table(table, tmp_path / "a.parquet")
    written(tmp_path, TEXT.replace(",", "\t"), "a.tsv")
    expected = [open_table(file, "sick").items.stored(i) for i in range(3)]
    for form in (table, table.to_pandas(), tmp_path / "a.parquet", tmp_path / "a.tsv"):
        assert [open_table(form, "sick").items.stored(i) for i in range(3)] == expected


@pytest.mark.parametrize("blank", [" ", "    ", " ?", "   NA", "? ", '" "'])
def test_blanks_around_a_missing_value_leave_its_column_what_it_is(tmp_path: Path, blank: str) -> None:
    text = f"paid, job, sick\n 1.5, clerk, no\n{blank},{blank}, yes\n 2.5, cook, no\n"
    rows = rows_of(open_table(written(tmp_path, text), "sick"))
    assert rows is not None
    np.testing.assert_array_equal(column(rows, "paid").values, [1.5, np.nan, 2.5])
    assert column(rows, "job").words == ("clerk", "cook")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, False], ("false", "true")),
        (pa.array(["b", "a"]).dictionary_encode(), ("a", "b")),
        ([" b", "b "], ("b",)),
        ([Decimal("1.50"), Decimal("2.25")], [1.5, 2.25]),
        ([datetime.date(1970, 1, 2), datetime.date(1970, 1, 11)], [1.0, 10.0]),
        ([datetime.datetime(1970, 1, 1, 12), None], [0.5, np.nan]),
        (pa.array([None, None]), [np.nan, np.nan]),
    ],
)
def test_kinds_of_columns(values: Any, expected: Any) -> None:
    found = column_of("x", pa.chunked_array([values]))
    if isinstance(found, Categories):
        assert found.words == expected
    else:
        np.testing.assert_array_equal(found.values, expected)


def test_numbers_may_be_names_of_categories() -> None:
    frame = pa.table({"code": [10, 2, 10], "y": ["a", "b", "a"]})
    options = TableOptions("y", categories=("code",))
    assert rows_of(open_source(frame, table=options)).columns[0].words == ("10", "2")  # type: ignore[union-attr]


def test_whole_number_classes_are_in_the_order_of_the_numbers_and_may_have_gaps() -> None:
    frame = pa.table({"x": [1.0, 2.0, 3.0, 4.0], "y": [7, 10, 2, 7]})
    source = open_table(frame, "y")
    assert (source.class_names, source.labels.tolist()) == (("2", "7", "10"), [1, 2, 0, 1])
    assert open_table(frame.set_column(1, "y", pa.array([1.0, 0.0, 1.0, 0.0])), "y").class_names == ("0", "1")


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["10", "2", "1"], ("1", "2", "10")),
        (["10", "2", "007"], ("007", "10", "2")),
        ([" b", "a", "c"], ("a", "b", "c")),
    ],
)
def test_classes_in_text_are_in_the_order_of_what_they_say(values: list[str], names: tuple[str, ...]) -> None:
    source = open_table(pa.table({"x": [1.0, 2.0, 3.0], "y": values}), "y")
    assert source.class_names == names
    assert [source.class_names[k] for k in source.labels] == [value.strip() for value in values]


def test_a_column_of_parts_is_the_split_and_no_feature() -> None:
    parts = ["train", "train", "train", "dev", "dev", "test", "test"]
    frame = pa.table({"x": list(range(7)), "split": parts, "y": ["a", "b", "a", "a", "b", "a", "b"]})
    source = open_table(frame, "y")
    assert source.given.count("test") == 2
    assert [c.name for c in source.items.columns] == ["x"]  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="got 'tset' in row 6, counted from 0; correct it, or rename"):
        open_table(frame.set_column(1, "split", pa.array(["train"] * 6 + ["tset"])), "y")
    blank = open_table(frame.set_column(1, "split", pa.array([None, *parts[1:]])), "y")
    assert [c.name for c in blank.items.columns] == ["x"]  # type: ignore[attr-defined]
    assert blank.given == ("", *source.given[1:])
    other = open_table(frame.set_column(1, "split", pa.array(["ours"] * 6 + ["banana"])), "y")
    assert [c.name for c in other.items.columns] == ["x", "split"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        "x,split,y\n1,train,a\n2,train,b\n3,tset,a\n",
        "x,y\n1,a\n2,b\ninf,a\n",
        "x,y\n1,a\n2,b\n3,\n",
    ],
    ids=["split", "number", "label"],
)
def test_every_error_counts_the_rows_of_a_file_alike(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"row 2\b"):
        open_table(written(tmp_path, text), "y")


def test_a_column_of_parts_that_is_dropped_or_the_target_is_no_split() -> None:
    frame = pa.table({"x": [1, 2, 3], "y": ["a", "b", "a"], "split": ["train", "test", "test"]})
    assert set(open_table(frame, "y", drop=["split"]).given) == {""}
    found = open_table(frame, "split")
    assert (found.class_names, set(found.given)) == (("test", "train"), {""})


@pytest.mark.parametrize(
    ("text", "target", "words"),
    [
        ("", "y", "readable .csv file with a header, got: Empty CSV file"),
        ("a,y\n", "y", "must hold a header and rows, got no rows"),
        (
            "a,b,y\n1,2\n",
            "y",
            r"got: CSV parse error: Expected 3 columns, got 2.*as many fields in every line",
        ),
        ("a, a,y\n1,2,x\n3,4,z\n", "y", "columns must have different names, got 'a' twice; rename one"),
        ("a,y\n1,x\n2,z\n", "z", r"target must name a column of the table, got 'z'; choose from a, y"),
        ("a,y\n1,x\n2,\n", "y", r"label of row 1 \(column 'y'\) must not be blank"),
        ("a,y\n1,x\n2,x\n", "y", "target 'y' must hold at least 2 classes, got only x"),
        (
            "a,y\n1,0.5\n2,1.5\n",
            "y",
            "got 2 different numbers in 2 rows such as 0.5: it is continuous; cut it",
        ),
        ("a,y\n1,inf\n2,1\n", "y", "must hold classes, got 2 different numbers"),
        ("y\nx\nz\n", "y", "must have columns besides the target, got y; add features"),
        (
            "a,y\n1,x\ninf,z\n-inf,z\n",
            "y",
            "column 'a' must be finite, got inf in row 1 and 1 more rows; leave",
        ),
    ],
)
def test_bad_tables_are_refused_with_the_remedy(tmp_path: Path, text: str, target: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_table(written(tmp_path, text), target)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("age,straße,sick\n31,a,no\n40,b,yes\n", "save it as CSV in UTF-8"),
        ("age,town,sick\n31,süd,no\n40,b,yes\n", r"column 'town' must hold .*\(in UTF-8\)"),
        ("age,town,sick\n31,a,nö\n40,b,yes\n", "target 'sick' must hold one class a row"),
    ],
)
def test_files_that_are_not_in_utf_8_are_refused_wherever_it_shows(
    tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(text.encode("cp1252"))
    with pytest.raises(InputError, match=words):
        open_table(file, "sick")


@pytest.mark.parametrize("mark", [";", "|", "\t"])
def test_another_mark_between_the_columns_is_recognised(tmp_path: Path, mark: str) -> None:
    with pytest.raises(InputError, match="must be separated by commas"):
        open_table(written(tmp_path, TEXT.replace(",", mark)), "sick")


@pytest.mark.parametrize("values", [[2**60, 2**60 + 1, 2**60], [7, 9, 7]])
def test_whole_numbers_of_any_size_are_classes(values: list[int]) -> None:
    source = open_table(pa.table({"x": [1.0, 2.0, 3.0], "sick": values}), "sick")
    assert source.class_names == tuple(str(v) for v in sorted(set(values)))
    assert [source.class_names[k] for k in source.labels] == [str(v) for v in values]


def test_numbers_beyond_whole_ones_are_classes_or_refused_but_no_fault() -> None:
    source = open_table(pa.table({"x": [1.0, 2.0], "sick": [1e30, 2e30]}), "sick")
    assert source.class_names == (str(int(1e30)), str(int(2e30)))


def test_a_target_with_a_value_a_row_is_continuous() -> None:
    frame = pa.table({"x": np.arange(80), "y": np.arange(80)})
    with pytest.raises(InputError, match="got 80 different numbers in 80 rows .* it is continuous"):
        open_table(frame, "y")


@pytest.mark.parametrize(
    ("values", "kind"),
    [([[1], [2]], "list<"), ([{"a": 1}, {"a": 2}], "struct<"), ([b"\xff", b"a"], "binary")],
)
def test_nested_and_binary_columns_are_named(tmp_path: Path, values: Any, kind: str) -> None:
    pq.write_table(pa.table({"deep": values, "y": ["a", "b"]}), tmp_path / "a.parquet")
    with pytest.raises(
        InputError, match=f"column 'deep' must hold one number, date or word.*got {kind}.*--drop"
    ):
        open_table(tmp_path / "a.parquet", "y")
    frame = pa.table({"deep": values, "x": [1, 2], "y": ["a", "b"]})
    assert len(open_table(frame, "y", drop=["deep"]).items) == 2
    with pytest.raises(InputError, match="target 'deep' must hold one class a row, got"):
        open_table(frame, "deep")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"drop": ("ag",)}, r"drop must name a column of the table, got 'ag'; did you mean 'age'\?"),
        (
            {"categories": ("twn",)},
            r"categories must name a column of the table, got 'twn'; did you mean 'town'",
        ),
        ({"drop": (3,)}, "drop must name a column of the table, got 3;"),
        ({"drop": ("sick",)}, "drop must leave the target column, got 'sick'"),
    ],
)
def test_unknown_columns_are_refused_with_the_nearest(tmp_path: Path, options: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_source(written(tmp_path, TEXT), table=TableOptions("sick", **options))


def test_places_that_are_no_table(tmp_path: Path) -> None:
    written(tmp_path, TEXT, "rows.csv")
    for spec, words in (
        (tmp_path / "rws.csv", r"source must be a table that exists, got '.*'; did you mean '.*rows.csv'"),
        (written(tmp_path, "x", "a.xlsx"), "ending in .csv, .tsv, .parquet, got"),
        ("wine-lt", "target must be left out for wine-lt, got 'y'"),
        (object(), "table must be a file, a PyArrow table or a data frame, got object"),
    ):
        with pytest.raises(InputError, match=words):
            open_source(spec, table=TableOptions("y"))
    with pytest.raises(InputError, match=r"readable \.parquet file"):
        read_table(written(tmp_path, TEXT, "a.parquet"))


def test_remarks_on_odd_columns() -> None:
    people = Categories("patient", np.arange(30), tuple(f"p{i:02d}" for i in range(30)))
    assert "'patient' has 30 categories in 30 rows" in remarks_on(people)[0]
    assert "numbers the rows" in remarks_on(Numbers("id", np.arange(5.0, 35.0)[::-1]))[0]
    words = (*map(str, range(30)), "unknown")
    mixed = Categories("age", np.tile(np.arange(31), 3), words)
    assert "'unknown' stands among its numbers" in remarks_on(mixed)[0]
    assert remarks_on(Numbers("age", np.linspace(0, 1, 30))) == ()
    assert remarks_on(Categories("town", np.arange(30) % 3, ("a", "b", "c"))) == ()


def test_equal_rows_stay_on_one_side_of_every_split() -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 12, 90).astype(float)
    x[0], x[1] = 0.0, -0.0
    frame = pa.table({"x": x, "w": random.choice(["a", None], 90), "y": random.choice(["no", "yes"], 90)})
    source = open_table(frame, "y")
    group = duplicate_groups(source).group
    keys = [(a + 0.0, b) for a, b in zip(x, frame["w"].to_pylist(), strict=True)]
    assert all((group[i] == group[j]) == (keys[i] == keys[j]) for i in range(90) for j in range(90))
    for seed in range(3):
        split = make_split(source, seed=seed)
        parts = [set(group[getattr(split, part)]) for part in ("train", "val", "test")]
        assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]


def test_chosen_rows_keep_their_names_and_content(tmp_path: Path) -> None:
    source = open_table(written(tmp_path, TEXT), "sick")
    some = choose(source, [2, 0])
    assert [some.items.name(i) for i in range(2)] == ["row 2", "row 0"]
    assert some.items.stored(0) == source.items.stored(2)
    assert rows_of(some) is not None
    with pytest.raises(InputError, match="must hold images here, got row 2 of a table"):
        some.items.load(0)


def test_an_audit_tells_of_columns_copies_and_conflicts() -> None:
    frame = pa.table(
        {
            "id": [f"p{i}" for i in range(24)],
            "x": [1.0, 1.0, *range(22)],
            "same": ["s"] * 24,
            "y": ["a", "b"] * 12,
        }
    )
    found = audit(open_table(frame.drop_columns(["id"]), "y"))
    assert found.table is not None
    assert (found.table.constant, found.table.numbers) == (("same",), ("x",))
    assert [set(copies.classes) for copies in found.conflicts] == [{"a", "b"}]
    assert "24 rows, 2 classes" in str(found)
    assert "smote,hist_gradient_boosting" in found.recommendation[-1]
    odd = audit(open_table(frame, "y"))
    assert "Look at the odd 1 column" in " ".join(odd.recommendation)
    assert audit("digits-lt", near=False).table is None
