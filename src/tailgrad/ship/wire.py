"""The fields of a protobuf message, read without a library and without copies."""

from collections.abc import Iterator

Field = tuple[int, int | memoryview]

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_LONGEST = 10
_MOST_NUMBERS = 2**29


def fields(message: memoryview) -> Iterator[Field]:
    """Number and value of each field: integers for varints, else the bytes.

    Args:
        message: of any type.

    Raises:
        ValueError: no protobuf.

    Source: the protocol buffers encoding guide.

    Example:
        >>> [(number, bytes(value)) for number, value in fields(memoryview(entry(14, b"hi")))]
        [(14, b'hi')]
    """
    place, end = 0, len(message)
    while place < end:
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if not 1 <= number < _MOST_NUMBERS:  # readers that cut it off would see another field
            raise ValueError(f"a field of number {number} at byte {place}")
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = _varint(message, place)
        elif kind in (_EIGHT, _FOUR):
            size = 8 if kind == _EIGHT else 4
        else:
            raise ValueError(f"a field of type {kind} at byte {place}")
        if size > end - place:
            raise ValueError(f"a field of {size} bytes where {end - place} are left")
        yield number, message[place : place + size]
        place += size


def entry(number: int, value: bytes) -> bytes:
    r"""One field of bytes, encoded.

    Example:
        >>> entry(1, b"a")
        b'\n\x01a'
    """
    return _encoded(number << 3 | _BYTES) + _encoded(len(value)) + value


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for turn, byte in enumerate(message[place : place + _LONGEST]):
        value |= (byte & 127) << (7 * turn)
        if byte < 128:
            return value, place + turn + 1
    raise ValueError(f"a number without end at byte {place}")


def _encoded(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
