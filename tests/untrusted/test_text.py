import json
import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.untrusted import MAX_DEPTH, of_shape, parse_json, parse_yaml, read_text

# PyYAML writes U+0085 in a way that it does not read back itself.
WORDS = st.text(st.characters(exclude_characters="\x85", codec="utf-8"), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | WORDS
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4)
)


@given(TREES)
def test_what_json_writes_is_read_back(tree: object) -> None:
    assert parse_json(json.dumps(tree)) == tree
    assert parse_json(json.dumps(tree, ensure_ascii=False, indent=1)) == tree


@given(TREES)
def test_what_yaml_writes_is_read_back(tree: object) -> None:
    assert parse_yaml(yaml.safe_dump(tree, allow_unicode=True)) == tree


@pytest.mark.parametrize(
    "text", ["[" * 10**6, '{"a":' * 10**5, "[[" * (MAX_DEPTH // 2) + "[", '["["' + ",[" * 60]
)
def test_deep_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="nested more than 50 deep"):
        parse_json(text)


def test_brackets_in_strings_are_no_depth() -> None:
    text = json.dumps(["[" * 1000, {'"\\"[': "{" * 1000}])
    assert parse_json(text) == json.loads(text)
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)


@pytest.mark.parametrize(
    "text", ['"' + '\\"' * 400_000, '["' * 400_000, '"\\' * 400_000, "1" * 10**6, "[]," * 300_000]
)
def test_no_json_takes_long(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(ValueError, match=r".+"):
        parse_json(text)
    assert time.process_time() - begun < 2


def test_numbers_that_are_none() -> None:
    with pytest.raises(ValueError, match="NaN, which is no JSON"):
        parse_json("[NaN]")
    assert parse_json("[-Infinity]", nan=True) == [-float("inf")]


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(c)}: &{chr(c)} [{','.join(['*' + chr(c - 1)] * 9)}]\n" for c in range(ord("b"), ord("k"))
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, r"an alias \(\*a\) at line 2, column 8; write the value out"),
        ("a: !!python/object/apply:os.system [touch ran]", "a tag"),
        ("a: !!python/name:os.system", "a tag"),
        ("a: !ours 3", "a tag"),
        ("a: !!binary aGk=", "a tag"),
        ("seed: 1\nseed: 2", "the key 'seed' stands there twice at line 2, column 1"),
        ("on: 1", "the key 'on' is no text; put it in quotes"),
        ("1: 1", "the key '1' is no text"),
        ("<<: {a: 1}", "the key '<<' is no text"),
        ("[a]: 1", "is no text"),
        ("[" * 10**6, "50 levels"),
        ("- " * 10**5, "50 levels"),
        ("[" + "a," * 10**5 + "]", "50000 values"),
        ("a: 0x" + "f" * 10**6, "a number of 1000002 digits"),
        ("a: " + "9" * 5000, "a number of 5000 digits"),
        ("a: \x00", "control characters"),
        ("a: 1\n---\nb: 2", "single document"),
    ],
)
def test_yaml_that_is_refused(text: str, said: str) -> None:
    begun = time.process_time()
    with pytest.raises(ValueError, match=said):
        parse_yaml(text)
    assert time.process_time() - begun < 2


def test_yaml_without_surprises() -> None:
    assert parse_yaml("a: 2024-05-01\nb: 12:30:45\nc: 1e-3\nd: 1.0e-3\ne: 'no'") == {
        "a": "2024-05-01",
        "b": "12:30:45",
        "c": "1e-3",
        "d": 0.001,
        "e": "no",
    }


def test_only_ordinary_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("pipe", "endless", "."):
        with pytest.raises(ValueError, match="no ordinary file"):
            read_text(tmp_path / name, 10)
    (tmp_path / "large").write_bytes(b"12345678901")
    with pytest.raises(ValueError, match="11 bytes where 10 are the limit"):
        read_text(tmp_path / "large", 10)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none", 10)


@pytest.mark.parametrize(
    "error", [KeyError("a"), OverflowError("b"), RecursionError(), MemoryError(), RuntimeError("c")]
)
def test_another_shape_is_one_error(error: Exception) -> None:
    with (
        pytest.raises(
            InputError, match=f"^x.json must hold what tailgrad writes, got {type(error).__name__}: .*; y$"
        ),
        of_shape("x.json", "y"),
    ):
        raise error


def test_errors_in_words_and_interrupts_pass() -> None:
    with pytest.raises(InputError, match="^words$"), of_shape("x"):
        raise InputError("words")
    with pytest.raises(KeyboardInterrupt), of_shape("x"):
        raise KeyboardInterrupt
