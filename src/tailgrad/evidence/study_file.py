"""What a study is, as one validated YAML file: data, groups of runs, sizes, an analysis and claims."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tailgrad.checks import InputError, nearest
from tailgrad.evidence.claim import Claim
from tailgrad.recipes.compose import merge, overlay
from tailgrad.recipes.wrong_value import explain
from tailgrad.untrusted import parse_yaml, yaml_text


def _not_a_switch(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic takes yes for 1
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


Whole = Annotated[int, BeforeValidator(_not_a_switch)]
Count = Annotated[Whole, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$")]
Split = Annotated[Whole, Field(ge=0)]
RESERVED = ("analysis", "evidence.json")
"""What else is in the folder of a study, so that no group may be called so."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Group(_Part):
    """Runs that are compared with one another: one source, one regime, several methods.

    Example:
        >>> Group(data="digits-lt", methods=("baseline", "csba")).seeds
        3
    """

    data: str
    """a slot of the study's ``data``, or a source"""
    methods: tuple[str | dict[str, Any], ...]
    """names, YAML files, or overlays with a ``name``; the first is what the others are compared with"""
    regime: str | None = None
    """null is the source's default"""
    seeds: Count = 3
    split_seeds: Count | Annotated[tuple[Split, ...], Field(min_length=1)] | None = None
    """splits crossed with the seeds; null draws split s for seed s where the source has no test set"""
    focus: str | None = None
    set: dict[str, Any] = {}
    """keys of the regime, nested"""
    own_regime: bool = False
    """methods may set keys of the regime too"""

    @field_validator("split_seeds")
    @classmethod
    def _different(cls, splits: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
        if isinstance(splits, tuple) and len(set(splits)) < len(splits):
            raise ValueError("split_seeds must be different numbers")
        return splits

    def overrides(self) -> dict[str, Any]:
        """Keys of the regime that the group sets, with its focus.

        Example:
            >>> Group(data="digits-lt", methods=("csba",), focus="3").overrides()
            {'focus': '3'}
        """
        return merge(self.set, {} if self.focus is None else {"focus": self.focus})

    @property
    def runs(self) -> int:
        """How many runs the group is: methods, times seeds, times splits that are crossed with them."""
        splits = self.split_seeds if isinstance(self.split_seeds, int) else len(self.split_seeds or (0,))
        return len(self.overlays()) * self.seeds * splits

    def overlays(self) -> dict[str, dict[str, Any]]:
        """Methods by name; ``like`` in one written out takes another method's keys first.

        Raises:
            InputError: a method has no name or the name of another, or there is none.

        Example:
            >>> group = Group(data="digits-lt", methods=({"name": "mine", "like": "csba"},))
            >>> group.overlays()["mine"]["head"]
            {'name': 'csba'}
        """
        found: dict[str, dict[str, Any]] = {}
        for method in self.methods:
            written = {"like": method, "name": Path(method).stem} if isinstance(method, str) else dict(method)
            like, name = written.pop("like", None), written.get("name")
            if not isinstance(name, str):
                raise InputError(f"a method of a study must have a name, got {method!r}; add name: WORD")
            if name in found:
                raise InputError(f"methods must be distinct, got {name!r} twice; name each once")
            below = overlay("methods", str(like)) if like is not None else {}
            found[name] = merge(below, written) | ({"own_regime": True} if self.own_regime else {})
        if not found:
            raise InputError("methods must hold at least one name, got none; see `tailgrad methods`")
        return found


class StudyFile(_Part):
    """A study as it is written down.

    Either ``groups`` by name, or they are the product of ``data`` and ``regimes``.

    Example:
        >>> short = StudyFile(name="mine", data={"digits": "digits-lt"}, methods=("ce", "csba"))
        >>> {name: group.methods for name, group in short.expanded().items()}
        {'digits': ('ce', 'csba')}
    """

    name: Name
    question: str = ""
    """one sentence, ending in a question mark"""
    paper: str = ""
    data: dict[Name, str | None]
    """slots: a name and the source that fills it; null is for the user to give"""
    needs: dict[Name, str] = {}
    """what a slot without a source wants, in words"""
    regimes: tuple[str, ...] = ()
    methods: tuple[str | dict[str, Any], ...] = ()
    """of every group that has none of its own"""
    seeds: Count = 3
    split_seeds: Count | tuple[Split, ...] | None = None
    focus: str | None = None
    set: dict[str, Any] = {}
    """laid under every group's own"""
    groups: dict[Name, dict[str, Any]] = {}
    """a group's keys; ``like: NAME`` takes those of another group first"""
    sizes: dict[Name, dict[str, Any]] = {}
    """named smaller editions: keys of this file laid over it, ``groups: {NAME: null}`` leaves one out"""
    analysis: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] | None = None
    """a module of ``tailgrad.evidence.analyses``"""
    settings: dict[str, Any] = {}
    """for the analysis"""
    claims: tuple[Claim, ...] = ()
    notes: str = ""
    """what a reader must know before believing any of it"""

    @model_validator(mode="after")
    def _has_something_to_do(self) -> Self:
        if not (self.groups or self.methods or self.analysis):
            raise ValueError(f"study {self.name!r} must have groups, methods or an analysis")
        if self.groups and self.regimes:
            raise ValueError(f"study {self.name!r} must have groups or regimes, not both")
        ids = [claim.id for claim in self.claims]
        if len(set(ids)) < len(ids):
            raise ValueError(f"study {self.name!r} must have claims with different ids")
        for name in RESERVED:
            if name in (self.groups or self._product()):
                raise ValueError(f"study {self.name!r} must not have a group called {name!r}")
        if "full" in self.sizes:
            raise ValueError(f"study {self.name!r} must not have a size called 'full', which is the whole")
        return self

    def expanded(self) -> dict[str, Group]:
        """Every group with all its keys.

        Raises:
            InputError: a group is like one that is not there, or a key of it is wrong.
        """
        return {name: self._group(name) for name in self.groups or self._product()}

    def _product(self) -> dict[str, dict[str, Any]]:
        if not self.methods:
            return {}
        regimes: Sequence[str | None] = self.regimes or (None,)
        several = len(regimes) > 1
        return {
            f"{slot}.{Path(str(regime)).stem}" if several else slot: {"data": slot, "regime": regime}
            for slot in self.data
            for regime in regimes
        }

    def _group(self, name: str) -> Group:
        own = self._keys(name, ())
        below = {key: getattr(self, key) for key in ("seeds", "split_seeds", "focus", "set")}
        if self.methods:
            below["methods"] = self.methods
        if len(self.data) == 1:
            below["data"] = next(iter(self.data))
        try:
            return Group.model_validate(_over(below, own))
        except ValidationError as error:
            raise InputError(
                f"group {name!r} of study {self.name!r}: {explain(error, Group, 'a group')}"
            ) from error

    def _keys(self, name: str, seen: tuple[str, ...]) -> dict[str, Any]:
        written = self.groups or self._product()
        if name not in written or name in seen:
            raise InputError(
                f"like of a group in study {self.name!r} must name another group, got {name!r}; "
                f"{nearest(name, written)}"
            )
        own = dict(written[name])
        like = own.pop("like", None)
        return own if like is None else _over(self._keys(str(like), (*seen, name)), own)

    def at(self, size: str) -> "StudyFile":
        """The study at one of its sizes, without slots whose groups it leaves out; ``full`` is as written.

        Raises:
            InputError: it has no such size, or the result is not a study.
        """
        if size == "full":
            return self
        if size not in self.sizes:
            known = ("full", *self.sizes)
            raise InputError(f"size must be one of {', '.join(known)}, got {size!r}; {nearest(size, known)}")
        content = self.model_dump(exclude={"sizes"}, exclude_unset=True)
        above = dict(self.sizes[size])
        groups = self._groups_with(above.pop("groups", None) or {}, size)
        laid = merge(content, above)
        if self.groups:
            gone = {keys.get("data") for keys in self._groups_with({}, size).values()}
            gone -= {keys.get("data") for keys in groups.values()}
            laid |= {"groups": groups, "data": {k: v for k, v in laid["data"].items() if k not in gone}}
        return _validated(laid, self.name)

    def _groups_with(self, changed: Any, size: str) -> dict[str, Any]:
        """Groups with a size's keys over their own; what they are like is settled before any is left out."""
        inner = changed.values() if isinstance(changed, Mapping) else [changed]
        if not all(keys is None or isinstance(keys, Mapping) for keys in inner):
            raise InputError(
                f"groups of size {size!r} must be mappings or null by name, got {changed!r}; mend the file"
            )
        for name in changed:
            if name not in self.groups:
                raise InputError(
                    f"size {size!r} of study {self.name!r} must change groups of it, got {name!r}; "
                    f"{nearest(str(name), self.groups)}"
                )
        laid = {name: _over(keys, changed.get(name) or {}) for name, keys in self.groups.items()}
        whole = self.model_copy(update={"groups": laid})
        return {name: whole._keys(name, ()) for name in laid if changed.get(name, {}) is not None}


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Keys over one another; only ``set`` is laid over key by key."""
    result = {**below, **above}
    if isinstance(below.get("set"), Mapping) and isinstance(above.get("set"), Mapping):
        result["set"] = merge(below["set"], above["set"])
    return result


def _validated(content: Mapping[str, Any], where: object) -> StudyFile:
    try:
        return StudyFile.model_validate(dict(content))
    except ValidationError as error:
        raise InputError(f"{where}: {explain(error, StudyFile, 'a study')}") from error


@cache
def studies() -> dict[str, Path]:
    """The studies that come with the package, by name.

    Example:
        >>> all(path.suffix == ".yaml" for path in studies().values())
        True
    """
    folder = Path(str(files("tailgrad.evidence") / "studies"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_study(name: str | Path) -> StudyFile:
    """A study by the name of one that comes with the package, or from a file of the user's own.

    In a file of one's own ``source: FOLDER`` may stand in place of ``data``, and the name is the file's.

    Raises:
        InputError: there is no such study or file, it is not YAML, or a key or value of it is wrong.

    Example:
        >>> read_study("no-such-study")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: study must be a known name or a YAML file, got 'no-such-study'; ...
    """
    path = studies().get(str(name)) or Path(name)
    if path.suffix not in {".yaml", ".yml"} or not path.is_file():
        raise InputError(
            f"study must be a known name or a YAML file, got {str(name)!r}; {nearest(str(name), studies())}"
        )
    try:
        content = parse_yaml(yaml_text(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must be readable YAML, got {error}; mend it") from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path} must hold a YAML mapping, got {type(content).__name__}; write key: value lines"
        )
    if "source" in content and "data" in content:
        raise InputError(f"{path} must have source or data, got both; leave one out")
    if "source" in content:
        content["data"] = {"data": content.pop("source")}
    return _validated({"name": path.stem, **content}, path)
