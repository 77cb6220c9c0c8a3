"""What a run learns: one class an image, or several labels."""

from typing import Any, Protocol

from torch import Tensor, nn

from tailgrad.data.source import Source
from tailgrad.data.splits import Split
from tailgrad.recipes.config import Config
from tailgrad.types import ClassInfo

Row = dict[str, Any]


class Task(Protocol):
    """The seam between what a source's targets are and all that depends on it.

    Example:
        >>> from tailgrad.data import open_source
        >>> task_of(open_source("digits-lt")).method
        'baseline'
    """

    method: str
    """taken where none is named"""

    def settled(self, config: Config) -> Config:
        """The configuration with what the task chooses where nothing is said."""
        ...

    def check(self, config: Config) -> None:
        """Refuse components that do not fit the targets, before any work is done."""
        ...

    def check_split(self, source: Source, split: Split, say: Any) -> None:
        """Refuse training parts that cannot be learnt from, and say what a user should know of the labels."""
        ...

    def describe(self, source: Source) -> str:
        """How many of what a source holds, for the first line of a run."""
        ...

    def score(
        self, logits: Tensor, target: Tensor, classes: ClassInfo, loss: nn.Module, focus: str | None = None
    ) -> Row:
        """Validation figures of an epoch by name."""
        ...

    def finish(self, job: Any, fitted: Any, stages: list[dict[str, Any]]) -> dict[str, Any]:
        """Evaluate and write everything that a report reads."""
        ...

    def keep_conflict(self, job: Any, name: str, parts: tuple[str, ...]) -> Any:
        """Measure gradients of the current network on parts of the data, and save what is found."""
        ...


def task_of(source: Source) -> Task:
    """The task that a source's targets set.

    Example:
        >>> from tailgrad.data import open_source
        >>> task_of(open_source("digits-multi-lt")).method
        'bce'
    """
    if source.indicators is None:
        from tailgrad.recipes.single_label import SINGLE_LABEL

        return SINGLE_LABEL
    from tailgrad.recipes.several_labels import SEVERAL_LABELS

    return SEVERAL_LABELS


def headline(result: dict[str, Any]) -> str:
    """The test figure that a finished run is known by, in words.

    Example:
        >>> headline({"test": {"macro_f1": {"value": 0.5}}})
        'test macro-F1 0.500'
    """
    test = result["test"]
    if "mean_average_precision" in test:
        return f"test mean average precision {test['mean_average_precision']['value']:.3f}"
    return f"test macro-F1 {test['macro_f1']['value']:.3f}"
