"""One file for graph and description, with a hash over both: an altered byte is refused.

The file is an ONNX model. Its last two entries of ``metadata_props`` are the description as JSON and the
SHA-256 of everything before the second of them.
"""

import hashlib
from collections.abc import Iterator

from tailgrad.checks import InputError
from tailgrad.ship.wire import entry, fields

DESCRIPTION, HASH = "tailgrad", "tailgrad_sha256"
_METADATA = 14
_HEX = 64
_MOST_DESCRIPTION = 2**26
_DEEPEST = 16
# Where messages lie in messages: onnx.proto of ONNX 1.x.
_INSIDE = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL, _LOCATION = 13, 14


def sealed(model: bytes, description: str) -> bytes:
    """The file of a model and its description.

    Args:
        model: serialised ONNX.
        description: JSON.

    Example:
        >>> description_of(sealed(b"", '{"format": 1}'), "m.onnx")
        '{"format": 1}'
    """
    whole = model + _pair(DESCRIPTION, description.encode())
    return whole + _pair(HASH, hashlib.sha256(whole).hexdigest().encode())


def description_of(data: bytes, name: str) -> str:
    """The description in a file that is as it was sealed.

    Args:
        data: the whole file.
        name: what to call it in an error.

    Raises:
        InputError: it is no artefact, was altered, or wants tensors from other files.

    Example: see ``sealed``.
    """
    length = len(_pair(HASH, bytes(_HEX)))
    body, seal = data[:-length], data[-length:]
    prefix = _pair(HASH, bytes(_HEX))[: length - _HEX]
    if not seal.startswith(prefix):
        raise InputError(
            f"model must be an artefact of tailgrad export, got {name} without its hash at the end; export "
            "the run again"
        )
    if seal != _pair(HASH, hashlib.sha256(body).hexdigest().encode()):
        raise InputError(
            f"model must be as it was exported, got {name} with another SHA-256: it was altered or damaged; "
            "export the run again"
        )
    try:
        return _read(memoryview(body))
    except ValueError as error:
        raise InputError(
            f"model must be an artefact of tailgrad export, got {name} with {error}; export the run again"
        ) from error


def _read(body: memoryview) -> str:
    found = [value for key, value in _metadata(body) if key == DESCRIPTION.encode()]
    if len(found) != 1:
        raise ValueError(f"{len(found)} descriptions")
    if len(found[0]) > _MOST_DESCRIPTION:
        raise ValueError(f"a description of {len(found[0])} bytes where {_MOST_DESCRIPTION} are the limit")
    _check_inside(body, "model", 0)
    return found[0].decode("utf-8")


def _metadata(body: memoryview) -> Iterator[tuple[bytes, bytes]]:
    for number, value in fields(body):
        if number == _METADATA and isinstance(value, memoryview):
            pair = {key: bytes(part) for key, part in fields(value) if isinstance(part, memoryview)}
            yield pair.get(1, b""), pair.get(2, b"")


def _check_inside(message: memoryview, kind: str, depth: int) -> None:
    """Refuse tensors that lie in other files: their paths may lead anywhere."""
    if depth > _DEEPEST:
        raise ValueError(f"graphs nested more than {_DEEPEST} deep")
    for number, value in fields(message):
        if kind == "tensor" and (number == _EXTERNAL or (number == _LOCATION and value != 0)):
            raise ValueError("tensors in other files")
        inner = _INSIDE[kind].get(number)
        if inner is not None and isinstance(value, memoryview):
            _check_inside(value, inner, depth + 1)


def _pair(key: str, value: bytes) -> bytes:
    return entry(_METADATA, entry(1, key.encode()) + entry(2, value))
