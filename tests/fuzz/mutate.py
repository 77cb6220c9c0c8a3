"""Valid files with something wrong: changes that know the format, so that they reach past its first check."""

import io
import json
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import yaml

HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 2**31, 2**63, -(2**63), 10**30, 10**400, 1e308, -0.0, 0.5),
    *(
        float("nan"),
        float("inf"),
        "",
        "x",
        "\x00",
        "\ud800",
        "\x1b[31m",
        "</script><script>alert(1)</script>",
    ),
    *(
        "../../../etc/passwd",
        "/dev/zero",
        "a" * 5000,
        "9" * 5000,
        "\u202e",
        [],
        {},
        [[]],
        {"": None},
        [1, 2, 3],
    ),
    *([0] * 1000, ["a", "a"], {"name": "x", "options": {}}, [{"name": 3}], "hf-hub:someone/something"),
)
WORDS = (
    *(
        b"\x00",
        b"\xff",
        b"\n",
        b"\r",
        b",",
        b"\t",
        b'"',
        b"'",
        b"../",
        b"/",
        b"[",
        b"]",
        b"{",
        b"}",
        b":",
        b"- ",
    ),
    *(b"&a ", b"*a", b"!!python/object/apply:os.system ", b"<<: ", b"? ", b"| ", b"%YAML 9.9\n", b"---\n"),
    *(
        b"1e999",
        b"NaN",
        b"null",
        b"9" * 30,
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\xe2\x80\xa8",
        b"=",
        b"~",
        b"@",
    ),
)
SIZES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**63 - 1, 2**64 - 1)
Change = Callable[[random.Random, bytes], bytes]


def text(chance: random.Random, data: bytes) -> bytes:
    """Words and bytes put in, taken out, doubled."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        place, length = chance.randint(0, len(made)), chance.choice((1, 2, 8, 64))
        kind = chance.randrange(6)
        if kind == 0:
            made[place:place] = chance.choice(WORDS) * chance.choice((1, 1, 2, 100))
        elif kind == 1:
            del made[place : place + length]
        elif kind == 2:
            made[place:place] = made[place : place + length] * chance.choice((1, 2, 50))
        elif kind == 3:
            made[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == 4:
            made[place : place + length] = chance.choice(WORDS)
        else:
            made = made[: chance.randint(0, len(made))] if chance.random() < 0.3 else made
    return bytes(made)


def binary(chance: random.Random, data: bytes) -> bytes:
    """Bits turned over and numbers replaced by the largest of their kind."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        if not made:
            break
        # Heads and tails say what the rest is.
        end = len(made) if chance.random() < 0.5 else min(len(made), 200)
        place = chance.randrange(end)
        place = len(made) - 1 - place if chance.random() < 0.3 else place
        kind = chance.randrange(4)
        if kind == 0:
            made[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            made[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif kind == 2:
            code, size = chance.choice((("<H", 2), (">H", 2), ("<I", 4), (">I", 4), ("<Q", 8), (">Q", 8)))
            made[place : place + size] = struct.pack(code, chance.choice(SIZES) % 256**size)
        else:
            return text(chance, bytes(made))
    return bytes(made)


def tree(chance: random.Random, value: Any) -> Any:
    """Nested lists and mappings with one place changed."""
    if not isinstance(value, list | dict) or not value or chance.random() < 0.12:
        return _other(chance, value)
    keys = list(range(len(value))) if isinstance(value, list) else list(value)
    key = chance.choice(keys)
    made = value.copy()
    if chance.random() < 0.1:
        del made[key]
    elif chance.random() < 0.05 and isinstance(made, dict):
        made[chance.choice(("", "name", "x", "\x00"))] = made.pop(key)
    else:
        made[key] = tree(chance, made[key])
    return made


def _other(chance: random.Random, value: Any) -> Any:
    if isinstance(value, list) and chance.random() < 0.4:
        return value * chance.choice((0, 2, 3)) if chance.random() < 0.5 else value[:-1]
    if isinstance(value, int | float) and chance.random() < 0.3:
        return -value if chance.random() < 0.5 else str(value)
    made = chance.choice(HOSTILE)
    for _ in range(chance.choice((0, 0, 0, 0, 3, 60))):
        made = [made] if chance.random() < 0.5 else {"a": made}
    return made


def as_json(chance: random.Random, data: bytes) -> bytes:
    """JSON of another tree, or other bytes."""
    if chance.random() < 0.25:
        return text(chance, data)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return text(chance, data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        value = tree(chance, value)
    return json.dumps(value).encode()


def as_lines(chance: random.Random, data: bytes) -> bytes:
    """JSON lines, one of them of another tree."""
    lines = data.split(b"\n")
    place = chance.randrange(len(lines))
    lines[place] = as_json(chance, lines[place] or b"{}")
    return b"\n".join(lines)


def as_yaml(chance: random.Random, data: bytes) -> bytes:
    """YAML of another tree, or other bytes."""
    if chance.random() < 0.4:
        return text(chance, data)
    try:
        value = tree(chance, yaml.safe_load(data))
        return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "backslashreplace")
    except Exception:
        return text(chance, data)


def as_safetensors(chance: random.Random, data: bytes) -> bytes:
    """Another header, its length made to fit; the object inside its metadata too."""
    if chance.random() < 0.2:
        return binary(chance, data)
    try:
        length = struct.unpack("<Q", data[:8])[0]
        header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
        if chance.random() < 0.6:
            own = json.loads(header["__metadata__"]["tailgrad"])
            own.pop("crc32", None)  # who changes a file changes that too
            for _ in range(chance.choice((1, 1, 2))):
                own = tree(chance, own)
            header["__metadata__"] = {"tailgrad": json.dumps(own)}
        elif chance.random() < 0.5:
            body = (
                binary(chance, body) if chance.random() < 0.5 else chance.choice((b"\0", b"\xff")) * len(body)
            )
            header["__metadata__"] = {"tailgrad": _without_checksum(header)}
        else:
            header["__metadata__"] = {"tailgrad": _without_checksum(header)}
            header = tree(chance, header)
    except (ValueError, KeyError, struct.error, TypeError, AttributeError, RecursionError):
        return binary(chance, data)
    said = json.dumps(header).encode()
    said += b" " * (-len(said) % 8)
    return struct.pack("<Q", len(said)) + said + body


def _without_checksum(header: Any) -> str:
    own = json.loads(header["__metadata__"]["tailgrad"])
    own.pop("crc32", None)
    return json.dumps(own)


def as_zip(chance: random.Random, data: bytes) -> bytes:
    """A zip with another member, whole and with the right checksum."""
    if chance.random() < 0.3:
        return binary(chance, data)
    made = io.BytesIO()
    try:
        with (
            zipfile.ZipFile(io.BytesIO(data)) as old,
            zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new,
        ):
            names = old.namelist()
            changed = chance.choice(names)
            for name in names:
                content = old.read(name)
                new.writestr(name, binary(chance, content) if name == changed else content)
    except Exception:
        return binary(chance, data)
    return made.getvalue()


def as_png(chance: random.Random, data: bytes) -> bytes:
    """A PNG with another chunk, its checksum made to fit; other formats byte by byte."""
    if not data.startswith(b"\x89PNG") or chance.random() < 0.3:
        return binary(chance, data)
    chunks, place = [], 8
    while place + 12 <= len(data):
        size = struct.unpack(">I", data[place : place + 4])[0]
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    if not chunks:
        return binary(chance, data)
    at = chance.randrange(len(chunks))
    kind, content = chunks[at]
    chunks[at] = kind, binary(chance, content)
    if chance.random() < 0.2:
        bomb = zlib.compress(bytes(chance.choice((10**4, 10**7))))
        extra = (
            (b"zTXt", b"a\x00\x00" + bomb),
            (b"iCCP", b"a\x00\x00" + bomb),
            (b"tEXt", b"a\x00" + bytes(10**5)),
        )
        chunks.insert(1, chance.choice(extra))
    made = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks:
        made += (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )
    return made


def as_tar(chance: random.Random, data: bytes) -> bytes:
    """A tar with another header, its checksum made to fit."""
    if chance.random() < 0.3 or len(data) < 512:
        return binary(chance, data)
    made = bytearray(data)
    block = 512 * chance.randrange(len(made) // 512)
    head = bytearray(binary(chance, bytes(made[block : block + 512])))
    if len(head) != 512:
        return bytes(made[:block] + head + made[block + 512 :])
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    made[block : block + 512] = head
    return bytes(made)


def links(data: bytes) -> bytes:
    """The tar with members that lead outside."""
    made = io.BytesIO(data)
    with tarfile.open(fileobj=made, mode="a:") as tar:
        for name, kind in (("../../x.png", tarfile.REGTYPE), ("l.png", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    return made.getvalue()
