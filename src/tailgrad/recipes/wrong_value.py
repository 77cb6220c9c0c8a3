"""What is wrong with a configuration, in words: pydantic's errors as sentences."""

import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from tailgrad.checks import nearest
from tailgrad.recipes.config import Config

_WANTED = {
    "be a mapping of keys to values": ("model_type", "dict_type", "model_attributes_type"),
    "be a list": ("tuple_type", "list_type"),
    "be text": ("string_type",),
    "be true or false": ("bool_type", "bool_parsing"),
    "be a whole number": ("int_type", "int_parsing", "int_from_float", "int_parsing_size"),
    "be a number": ("float_type", "float_parsing"),
    "be finite": ("finite_number",),
    "be given": ("missing",),
    "have keys that are text": ("invalid_key",),
}
_WORDS = {kind: words for words, kinds in _WANTED.items() for kind in kinds}
_LONGEST = 200


def explain(error: ValidationError, root: type[BaseModel] = Config, whole: str = "the configuration") -> str:
    """The first thing that is wrong: the key, what was wanted, what came, what to do.

    Args:
        error: what pydantic found.
        root: the model that was filled in.
        whole: what that is called.

    Example:
        >>> try:
        ...     Config.model_validate({"source": 3})
        ... except ValidationError as error:
        ...     explain(error)
        "source must be text, got 3; put it in quotes: '3'"
    """
    first: Any = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        return f"{'.'.join(place)} is not a key of {whole}; {nearest(place[-1], _keys(place[:-1], root))}"
    names = [part for part in place if re.fullmatch(r"\w+", part) and part not in _BRANCHES]
    key, given = ".".join(names) or whole, first["input"]
    if first["type"] == "value_error" and not names and root is not Config:  # it names the whole itself
        return f"{first['ctx']['error']}; mend the file"
    if first["type"] == "value_error":
        return f"{key}: {first['ctx']['error']}, got {_brief(given)}; set another value"
    return f"{key} must {_wanted(first)}, got {_brief(given)}; {_remedy(first)}"


_BRANCHES = {"str", "int", "float", "bool", "none"}
"""What pydantic adds to the place of a value that may be of several kinds."""


def _wanted(first: Any) -> str:
    if first["type"] in _WORDS:
        return _WORDS[first["type"]]
    said = str(first["msg"]).removeprefix("Input should ")
    return said if said.startswith(("be ", "have ")) else f"hold: {said}"


def _remedy(first: Any) -> str:
    given = first["input"]
    if first["type"] == "string_type" and isinstance(given, bool | int | float):
        return f"put it in quotes: '{_brief(given)}'"
    choices = re.findall(r"'([^']*)'", first.get("ctx", {}).get("expected", ""))
    return nearest(_brief(given).strip("'"), choices) if choices else "set another value"


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _keys(place: Sequence[str], root: type[BaseModel]) -> list[str]:
    """Keys of the section at a place, none where there is no section."""
    model = root
    for part in place:
        if part.isdecimal():  # a place in a list of sections
            continue
        field = model.model_fields.get(part)
        kinds = [] if field is None else [field.annotation, *get_args(field.annotation)]
        sections = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not sections:
            return []
        model = sections[0]
    return list(model.model_fields)
