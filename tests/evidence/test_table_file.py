import json
from pathlib import Path

import pytest
import yaml

from tailgrad.checks import InputError
from tailgrad.evidence import audit_claims
from tailgrad.evidence.table_file import printed_table, read_table

ROWS = """class,precision,recall,f1,support
a,0.500,0.500,0.500,4
b,0.750,0.750,0.750,8
"""
TWO = """model,class,recall,support
old,a,0.25,4
old,b,0.75,8
new,a,0.50,4
new,b,0.75,8
"""


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_csv_yaml_and_json_of_one_table_give_one_answer(tmp_path: Path) -> None:
    rows = write(tmp_path, "t.csv", ROWS)
    content = read_table(rows)
    same = [
        write(tmp_path, "t.yaml", yaml.safe_dump(content)),
        write(tmp_path, "t.json", json.dumps(content)),
        write(tmp_path, "t.tsv", "\ufeff" + ROWS.replace(",", "\t").replace("f1", "F1-score")),
    ]
    wanted = audit_claims(rows).to_dict()["table"]
    assert wanted[0]["numbers"]["unique"]["supports"] == (4, 8)
    for path in same:
        assert audit_claims(path).to_dict()["table"] == wanted


def test_a_csv_of_two_models_shares_supports(tmp_path: Path) -> None:
    table = printed_table(read_table(write(tmp_path, "t.csv", TWO)))
    assert [column.name for column in table.columns] == ["old", "new"]
    assert (table.supports, table.decimals) == ((4, 8), 2)
    assert table.columns[0].precision == (None, None)


def test_blank_figures_are_not_printed(tmp_path: Path) -> None:
    table = printed_table(read_table(write(tmp_path, "t.csv", "class,recall,f1\na,0.5,\nb,-,0.25\n")))
    assert table.columns[0].has("recall") is table.columns[0].has("f1") is False
    assert table.supports is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "", "must hold a header and a row for each class, got 0 rows"),
        ("t.csv", "class,recall\n", "got 1 rows"),
        ("t.csv", "class,recal\na,0.5\n", r"column of t.csv must be a known name, got 'recal'; did you mean"),
        ("t.csv", "recall\n0.5\n", "must have a column class"),
        ("t.csv", "class,recall,recall\na,0.5,0.5\n", "none twice"),
        ("t.csv", "class,recall\na,0.5,0.7\n", "row 2 of t.csv must have 2 fields, got 3"),
        ("t.csv", 'class,recall\n"a,0.5\n', "must be readable CSV"),
        ("t.csv", TWO.replace("new,b", "new,c"), "class in t.csv must be the same in every model"),
        ("t.csv", TWO.replace("new,b,0.75,8", "new,b,0.75,9"), "support in t.csv must be the same"),
        ("t.csv", ROWS.replace("0.750", "nan"), "must be a share from 0 to 1, got NaN"),
        ("t.csv", ROWS.replace("0.", "").replace("500", "50.0").replace("750", "75.0"), "looks like percent"),
        ("t.yaml", "[1, 2]", "must hold a mapping, got list"),
        ("t.yaml", "a: [", "must be readable YAML"),
        ("t.yaml", "", "must hold a mapping, got NoneType"),
        ("t.yaml", "a: &x [1]\nb: *x", "an alias"),
        ("t.json", '{"classes": NaN}', "NaN, which is no JSON"),
        ("t.txt", ROWS, "table must be a packaged one or a YAML, JSON or CSV file"),
    ],
)
def test_files_that_are_no_tables_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(InputError, match=message):
        audit_claims(path)


def test_a_name_nearly_right_is_suggested() -> None:
    with pytest.raises(InputError, match=r"got 'csba-pvv'; did you mean 'csba-pv'"):
        audit_claims("csba-pvv")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", ROWS + " " * 2**21)
    with pytest.raises(InputError, match="bytes where 1048576 are the limit"):
        audit_claims(path)
