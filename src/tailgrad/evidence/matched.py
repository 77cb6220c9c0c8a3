"""Which runs of a study set a method beside a control with as many parameters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tailgrad.evidence.figures import Figure, difference
from tailgrad.recipes.compose import named, overlay

Content = Mapping[str, Any]
_CLOSE = 0.01


@dataclass(frozen=True)
class Matched:
    """A method and a control of it, trained in one group of runs.

    Args:
        group: of the study.
        method: its name.
        control: with as many parameters.
        source: the data, the network and the length of training, as far as the record tells.
        gain: macro-F1 of the method less that of the control.

    Example:
        >>> Matched("g", "csba", "wider_head", "digits-lt", Figure.over([-0.1, -0.11, -0.1])).verdict
        'it is beaten'
    """

    group: str
    method: str
    control: str
    source: str
    gain: Figure

    @property
    def verdict(self) -> str:
        """What the interval by itself says."""
        low, high = self.gain.mean.low, self.gain.mean.high
        if low is None or high is None or low <= 0 <= high:
            return "no difference can be told"
        return "it is better" if low > 0 else "it is beaten"


def controls_of(method: str) -> tuple[str, ...]:
    """Methods that are controls of a method: their ``paper`` calls them a control of it, or of its own paper.

    Example:
        >>> controls_of("conflict_sam"), "wider_head" in controls_of("csba"), controls_of("ce")
        (('random_class_sam',), True, ())
    """
    return _controls().get(method, ())


@cache
def _controls() -> dict[str, tuple[str, ...]]:
    papers = {name: str(overlay("methods", name).get("paper", "")) for name in named("methods")}
    found: dict[str, tuple[str, ...]] = {}
    for name, paper in papers.items():
        wanted = (f"a control of {name}", f"a control of {paper or name}")
        found[name] = tuple(control for control, words in papers.items() if words.endswith(wanted))
    return found


def as_large(content: Content, method: tuple[str, str], control: tuple[str, str]) -> bool:
    """Whether two methods, each with its group, have as many parameters to 1 %, as far as the record tells.

    Example:
        >>> runs = [{"method": "a", "parameters": 100}, {"method": "b", "parameters": 120}]
        >>> as_large({"groups": {"g": {"runs": runs}}}, ("g", "a"), ("g", "b"))
        False
    """
    sizes = [_parameters(content, *of) for of in (method, control)]
    return None in sizes or abs(sizes[0] / sizes[1] - 1) <= _CLOSE


def _parameters(content: Content, group: str, method: str) -> Any:
    runs = content["groups"].get(group, {}).get("runs", ())
    return next((run["parameters"] for run in runs if run["method"] == method), None)


def matched(content: Content) -> Iterator[Matched]:
    """Every method of a record beside every control of it that ran in the same group and is as large.

    Args:
        content: of ``evidence.json``.

    Example:
        >>> list(matched({"groups": {}}))
        []
    """
    for group, record in content["groups"].items():
        runs: dict[str, list[Any]] = {}
        for run in record["runs"]:
            runs.setdefault(str(run["method"]), []).append(run)
        pairs = [(method, control) for method in runs for control in controls_of(method) if control in runs]
        for method, control in pairs:
            if as_large(content, (group, method), (group, control)):
                gain = _gain(record, runs[method], runs[control])
                yield Matched(group, method, control, _where(record), gain)


def _gain(record: Content, runs: list[Any], others: list[Any]) -> Figure:
    own_test = bool(record["study"]["own_test"]) or len(record["split_sha256"]) == 1
    return difference(runs, others, "macro_f1", own_test=own_test)


def _where(record: Content) -> str:
    configuration = record.get("configuration", {})
    network = configuration.get("model", {}).get("name")
    epochs = configuration.get("train", {}).get("epochs")
    words = [str(record["study"]["source"]), network, None if epochs is None else f"{epochs} epochs"]
    return ", ".join(word for word in words if word)
