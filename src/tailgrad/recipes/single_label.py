"""One class an image: the task of most sources."""

from typing import Any

from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.data.source import Source
from tailgrad.data.splits import Split
from tailgrad.recipes.components import components
from tailgrad.recipes.config import Config
from tailgrad.types import ClassInfo


class SingleLabel:
    """One class an image; see ``task.Task``.

    Example:
        >>> SingleLabel().method
        'baseline'
    """

    method = "baseline"

    def settled(self, config: Config) -> Config:
        """The configuration as it is."""
        return config

    def check(self, config: Config) -> None:
        """Check that every loss takes one class an image, and that no figure of several labels is asked for.

        Raises:
            InputError: a loss is for several labels, or ``train.monitor`` is.

        Example:
            >>> SingleLabel().check(Config(source="x", loss={"name": "pairwise_auc"}))
            Traceback (most recent call last):
            ...
            tailgrad.checks.InputError: loss.name must take one class an image, got 'pairwise_auc'; ...
        """
        named = {"loss": config.loss} | {
            f"stages[{place}].loss": stage.loss for place, stage in enumerate(config.stages) if stage.loss
        }
        for where, one in named.items():
            if getattr(components("losses").get(one.name), "multi_label", False):
                raise InputError(
                    f"{where}.name must take one class an image, got {one.name!r}; choose a single-label "
                    "loss, or give the source several labels (data.labels_column, data.label_columns)"
                )
        if config.train.monitor in ("mean_average_precision", "macro_auc"):
            raise InputError(
                f"train.monitor must be a figure of one class an image, got {config.train.monitor!r}; take "
                "macro_f1"
            )

    def check_split(self, source: Source, split: Split, say: Any) -> None:
        """Nothing: splitting has seen to it that every class is everywhere."""

    def describe(self, source: Source) -> str:
        """``10 classes``."""
        return f"{source.num_classes} classes"

    def score(
        self, logits: Tensor, target: Tensor, classes: ClassInfo, loss: nn.Module, focus: str | None = None
    ) -> dict[str, Any]:
        """Validation figures of an epoch by name."""
        from tailgrad.recipes.scores import score

        return score(logits, target, classes, loss, focus)

    def finish(self, job: Any, fitted: Any, stages: list[dict[str, Any]]) -> dict[str, Any]:
        """Evaluate and write everything that a report reads."""
        from tailgrad.recipes.finish import finish

        return finish(job, fitted, stages)

    def keep_conflict(self, job: Any, name: str, parts: tuple[str, ...]) -> Any:
        """Measure class gradients and save them."""
        from tailgrad.recipes.finish import keep_interference

        return keep_interference(job, name, parts)


SINGLE_LABEL = SingleLabel()
