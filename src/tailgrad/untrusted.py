"""Reading files of strangers: of bounded size and depth, never more than text, numbers, lists, mappings."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tailgrad.checks import InputError

MAX_YAML = 2**20
"""Bytes of a YAML file."""

MAX_JSON = 2**29
"""Bytes of a JSON file."""

MAX_DEPTH = 50
"""Lists and mappings inside one another."""

MAX_NODES = 50_000
"""Values in a YAML file."""

_LONGEST_NUMBER = 40

# One match a bracket, and one at the end; strings, which may hold brackets, are passed over.
_BRACKET = re.compile(r'(?:[^\[\]{}"]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"?)*+([\[\]{}]|\Z)', re.DOTALL)


def read_text(path: Path, most: int) -> str:
    """The text of an ordinary UTF-8 file of at most ``most`` bytes.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no ordinary file (a pipe would be waited for), larger, or not UTF-8.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> _ = path.write_text("four")
        >>> read_text(path, 3)
        Traceback (most recent call last):
        ...
        ValueError: 4 bytes where 3 are the limit
    """
    if path.exists() and not path.is_file():
        raise ValueError("no ordinary file")
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"{size} bytes where {most} are the limit")
    with path.open("rb") as file:
        return file.read(size + 1).decode("utf-8")


def yaml_text(path: Path) -> str:
    """The text of a YAML file of at most ``MAX_YAML`` bytes.

    Raises:
        OSError, ValueError: as ``read_text``.

    Example: see ``read_text``.
    """
    return read_text(path, MAX_YAML)


def json_text(path: Path) -> str:
    """The text of a JSON file of at most ``MAX_JSON`` bytes.

    Raises:
        OSError, ValueError: as ``read_text``.

    Example: see ``read_text``.
    """
    return read_text(path, MAX_JSON)


def parse_json(text: str, *, nan: bool = False) -> Any:
    """What a JSON text holds.

    Args:
        text: JSON.
        nan: whether numbers may be NaN or infinite, which is not JSON but common.

    Raises:
        ValueError: no JSON, nested deeper than ``MAX_DEPTH``, or an integer of thousands of digits.

    Example:
        >>> parse_json("[" * 1000)
        Traceback (most recent call last):
        ...
        ValueError: nested more than 50 deep
    """
    depth = 0
    for bracket in _BRACKET.finditer(text):
        depth += {"[": 1, "{": 1, "": 0}.get(bracket[1], -1)
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
    return json.loads(text, parse_constant=float if nan else _no_constant)


def _no_constant(word: str) -> float:
    raise ValueError(f"{word}, which is no JSON")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader without its surprises: no key twice, no dates, no numbers to base 60."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are distinct texts."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"the key {str(key.value)[:40]!r} is no text; put it in quotes",
                    key.start_mark,
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value[:40]!r} stands there twice", key.start_mark
                )
            seen.add(key.value)
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made

    def number(self, node: Any) -> Any:
        """A number, or the text where YAML 1.1 would count 12:30 to base 60."""
        if ":" in node.value:
            return self.construct_scalar(node)
        if len(node.value) > _LONGEST_NUMBER:
            raise yaml.constructor.ConstructorError(
                None, None, f"a number of {len(node.value)} digits", node.start_mark
            )
        whole = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.number)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


def parse_yaml(text: str) -> Any:
    """What a YAML text holds: nulls, booleans, numbers, texts, lists and mappings from text.

    Dates stay texts.

    Raises:
        ValueError: no YAML, an alias or a tag, a key twice, more than ``MAX_NODES`` values, nested deeper
            than ``MAX_DEPTH``.

    Example:
        >>> parse_yaml("{source: 2024-05-01, seed: 3}")
        {'source': '2024-05-01', 'seed': 3}
        >>> parse_yaml("{a: &x [1], b: *x}")
        Traceback (most recent call last):
        ...
        ValueError: an alias (*x) at line 1, column 16; write the value out
    """
    try:
        _check_events(text)
        return yaml.load(text, Loader=_Loader)  # a safe loader
    except (yaml.YAMLError, LookupError, RecursionError) as error:
        said = str(error).replace(' in "<unicode string>",', " at")
        raise ValueError(" ".join(said.split())) from error


def _check_events(text: str) -> None:
    """Refuse what could explode, before anything is built."""
    depth = nodes = 0
    event: Any
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"an alias (*{event.anchor}) at {_place(event)}; write the value out")
        if getattr(event, "tag", None) is not None:
            raise ValueError(f"a tag ({event.tag}) at {_place(event)}; leave it out")
        nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_NODES} values or {MAX_DEPTH} levels at {_place(event)}")


def _place(event: Any) -> str:
    return f"line {event.start_mark.line + 1}, column {event.start_mark.column + 1}"


@contextmanager
def of_shape(what: object, remedy: str = "restore it, or repeat the run") -> Iterator[None]:
    """Within the block, content that is not what this package writes becomes one clear error.

    Args:
        what: the file or folder that the block reads and draws on.
        remedy: what to do.

    Raises:
        InputError: something is missing, or of another kind or size.

    Example:
        >>> with of_shape("result.json"):
        ...     {"test": 3}["val"]
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: result.json must hold what tailgrad writes, got KeyError: 'val'; ...
    """
    try:
        yield
    except InputError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"{what} must hold what tailgrad writes, got {said}; {remedy}") from error
