"""The container of an artefact: read back whole, refused when anything about it is altered."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.ship.description import FORMAT, Description, Preprocessing, read_description
from tailgrad.ship.seal import description_of, sealed
from tailgrad.ship.wire import entry, fields

FORM = Preprocessing(size=(8, 8), mean=(0, 0, 0), std=(1, 1, 1))
ABOUT = Description(names=("a", "b"), counts=(9, 1), preprocessing=FORM)


@given(st.integers(1, 2**28), st.binary(max_size=300))
def test_fields_are_read_as_they_were_written(number: int, value: bytes) -> None:
    ((found, read),) = fields(memoryview(entry(number, value)))
    assert isinstance(read, memoryview)
    assert (found, bytes(read)) == (number, value)


@given(st.binary(max_size=60))
def test_no_bytes_make_the_reader_of_fields_raise_anything_else(data: bytes) -> None:
    try:
        sizes = [len(value) if isinstance(value, memoryview) else 0 for _, value in fields(memoryview(data))]
    except ValueError:
        return
    assert sum(sizes) <= len(data)


@pytest.mark.parametrize("data", [b"\x08", b"\x80" * 11, b"\x0a\x05ab", b"\x0b\x00", b"\x00\x00", b"\x09abc"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"field|number"):
        list(fields(memoryview(data)))


@pytest.mark.parametrize("number", [0, 2**29, 2**29 + 13, 2**40 + 13])
def test_numbers_that_another_reader_would_cut_off_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"a field of number {number} at byte"):
        list(fields(memoryview(entry(number, b"x"))))


def test_the_reader_agrees_with_protobuf() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.ModelProto(ir_version=8, producer_name="x")
    model.metadata_props.add(key="k", value="v")
    found = list(fields(memoryview(model.SerializeToString())))
    assert [number for number, _ in found] == [1, 2, 14]
    assert found[0][1] == 8
    assert bytes(found[1][1]) == b"x"
    again = onnx.load_model_from_string(sealed(model.SerializeToString(), "{}"))
    assert [one.key for one in again.metadata_props] == ["k", "tailgrad", "tailgrad_sha256"]


@pytest.mark.parametrize("place", [0, 3, 20, 40, 60, 90, -1, -40, -70, -100])
def test_one_altered_byte_is_refused(place: int) -> None:
    data = bytearray(sealed(b"\x3a\x02\x08\x01", ABOUT.model_dump_json()))
    data[place] ^= 1
    with pytest.raises(InputError, match=r"altered or damaged|without its hash"):
        description_of(bytes(data), "m.onnx")


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + b"x", lambda d: d[1:], lambda d: d[:0]])
def test_a_cut_or_lengthened_file_is_refused(change: object) -> None:
    with pytest.raises(InputError, match=r"m\.onnx"):
        description_of(change(sealed(b"", "{}")), "m.onnx")  # type: ignore[operator]


def tensor(**fields_of: object) -> bytes:
    onnx = pytest.importorskip("onnx")
    made = onnx.TensorProto(dims=[1], data_type=1, name="w", **fields_of)
    made.external_data.add(key="location", value="../../etc/passwd")
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("path", [(7, 5), (7, 1, 5, 5), (7, 1, 5, 6, 5), (7, 15, 1), (25, 7, 5, 10)])
def test_tensors_in_other_files_are_refused_wherever_they_stand(path: tuple[int, ...]) -> None:
    inner = tensor(data_location=1)
    for number in reversed(path):
        inner = entry(number, inner)
    with pytest.raises(InputError, match="tensors in other files"):
        description_of(sealed(inner, "{}"), "m.onnx")


def test_graphs_within_graphs_end_somewhere() -> None:
    inner = b""
    for _ in range(40):
        inner = entry(1, entry(5, entry(6, inner)))
    with pytest.raises(InputError, match="nested more than"):
        description_of(sealed(entry(7, inner), "{}"), "m.onnx")


def test_two_descriptions_are_one_too_many() -> None:
    double = sealed(sealed(b"", "{}"), "{}")
    with pytest.raises(InputError, match="2 descriptions"):
        description_of(double, "m.onnx")


def test_a_description_is_read_as_it_was_written() -> None:
    text = description_of(sealed(b"", ABOUT.model_dump_json()), "m.onnx")
    assert read_description(text, "m.onnx") == ABOUT


def changed(**entries: object) -> str:
    return json.dumps({**json.loads(ABOUT.model_dump_json()), **entries})


def test_a_later_version_is_named() -> None:
    text = changed(format=FORMAT + 1, tailgrad="9.0", something="new")
    with pytest.raises(InputError, match=rf"got m\.onnx of format {FORMAT + 1}; install the tailgrad .*9\.0"):
        read_description(text, "m.onnx")


@pytest.mark.parametrize(
    "entries",
    [
        {"names": ["a"]},
        {"names": ["a", "a"]},
        {"names": ["a", "b", "c"]},
        {"counts": [1, -1]},
        {"counts": [0, 0]},
        {"temperature": 0},
        {"temperature": float("nan")},
        {"prior": [0.5, 0.4]},
        {"prior": [1.5, -0.5]},
        {"target_prior": [1.0]},
        {"abstain": 2},
        {"focus": {"name": "c", "threshold": 0.5}},
        {"preprocessing": {"size": [8, 10**6], "mean": [0, 0, 0], "std": [1, 1, 1]}},
        {"preprocessing": {"size": [8, 8], "mean": [0, 0, 0], "std": [1, 0, 1]}},
        {"preprocessing": None},
        {"unknown": 1},
        {"format": "1"},
        {"format": None},
    ],
)
def test_a_description_of_another_kind_is_refused(entries: dict[str, object]) -> None:
    with pytest.raises(InputError, match="must hold what tailgrad export writes"):
        read_description(changed(**entries), "m.onnx")


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{", "[" * 99])
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"got m\.onnx"):
        read_description(text, "m.onnx")
