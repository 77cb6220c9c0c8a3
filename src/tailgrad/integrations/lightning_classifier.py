"""A Lightning module around any network, with a loss and a sampler for imbalanced classes."""

# ruff: noqa: ARG002 - the framework fixes the arguments of its hooks

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from tailgrad.checks import InputError
from tailgrad.integrations.class_imbalance import choose_for
from tailgrad.integrations.dataset_labels import checked_labels, count_labels
from tailgrad.integrations.imbalance_knob import Knob
from tailgrad.integrations.labels import FindTarget, labels_of
from tailgrad.integrations.recall_count import RecallCount
from tailgrad.interference.logits_of import logits_of
from tailgrad.losses import CrossEntropyLoss

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
_ADAMW: MakeOptimizer = partial(torch.optim.AdamW, lr=1e-3)


class LightningClassifier(LightningModule):
    """Training, validation and test of a classifier, with one knob: ``class_imbalance``.

    Logs ``train_loss``, and of validation and test (``val_...``, ``test_...``) ``loss``, ``accuracy``,
    ``balanced_accuracy`` (the mean of the classes' recalls) and ``recall/<class>`` for each class that has an
    example. What was chosen is printed when training begins.

    Args:
        model: gives logits [N, K], ``.logits`` or a tuple that starts with them.
        train_labels: class index of each training example, [N]; gives the counts, and the sampler what it
            draws from.
        class_counts: training examples of each class, in place of the labels.
        class_imbalance: ``"auto"`` (balanced softmax from an imbalance factor of 1.5 on, below it plain
            cross-entropy), a mapping with ``"loss"``, ``"sampler"`` or both (see ``choose_for``), or None,
            which is plain cross-entropy.
        class_names: K names for the log; the class's index by default.
        optimizer: makes the optimiser from the parameters; AdamW with a learning rate of 1e-3 by default.
            For a schedule, override ``configure_optimizers``.
        epochs: of the training, for what changes over it.
        target: ``target(batch)`` are the class indices [N]; by default the second item, or ``labels``.

    Raises:
        InputError: an unknown name, two corrections of one prior, labels that are no class indices, a class
            without an example; when training starts: a chosen sampler that the loader does not draw with.

    Checkpoints hold the state of the loss; ``load_from_checkpoint(path, model=network)`` needs nothing else.

    Source: a design of this library; see ``choose_for`` for what it corrects.

    Example:
        >>> module = LightningClassifier(nn.Linear(4, 2), [0] * 90 + [1] * 10)
        >>> module.loss, module.sampler
        (BalancedSoftmaxLoss(class_counts=[90, 10], reduction='mean'), None)
    """

    def __init__(
        self,
        model: nn.Module,
        train_labels: Any = None,
        *,
        class_counts: Sequence[int] | None = None,
        class_imbalance: Knob = "auto",
        class_names: Sequence[str] | None = None,
        optimizer: MakeOptimizer = _ADAMW,
        epochs: int | None = None,
        target: FindTarget = labels_of,
    ) -> None:
        super().__init__()
        labels = None if train_labels is None else checked_labels(train_labels)
        counts = _counts(labels, class_counts, class_names)
        self.imbalance = choose_for(counts, class_imbalance, class_names=class_names, epochs=epochs)
        self.model = model
        self.loss = self.imbalance.loss or CrossEntropyLoss()
        self.class_names = tuple(class_names or map(str, range(len(counts))))
        self.sampler = None if labels is None else self.imbalance.make_sampler(labels.tolist())
        self._make_optimizer, self._find_target = optimizer, target
        self._recall = RecallCount(self.class_names)
        self.save_hyperparameters(ignore=["model", "train_labels", "optimizer", "target"])
        self.hparams["class_counts"] = list(counts)

    def forward(self, inputs: Any) -> Tensor:
        """The logits [N, K] of the inputs of a batch."""
        return logits_of(self.model(**inputs) if isinstance(inputs, Mapping) else self.model(inputs))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        logits, target = self._logits_and_target(batch)
        loss: Tensor = self.loss(logits, target)
        self.log("train_loss", loss.detach(), prog_bar=True, batch_size=len(target))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count what was found of every class."""
        self._count("val", batch)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Count what was found of every class."""
        self._count("test", batch)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The probabilities [N, K] of a batch, with labels or without."""
        logits: Tensor = self(self._inputs(batch))
        return logits.softmax(1)

    def configure_optimizers(self) -> Any:
        """What ``optimizer`` makes of the parameters that learn."""
        return self._make_optimizer([p for p in self.parameters() if p.requires_grad])

    def on_fit_start(self) -> None:
        """Say what was chosen."""
        if self.trainer.is_global_zero:
            print(self.imbalance.text)

    def on_train_start(self) -> None:
        """Make sure that a chosen sampler is in use."""
        if self.imbalance.sampler is None:
            return
        drawn = getattr(self.trainer.train_dataloader, "sampler", None)
        if self.sampler is None or drawn is not self.sampler:
            raise InputError(
                f"the training loader must draw with the sampler {self.imbalance.sampler.name}, got "
                f"{type(drawn).__name__}; give train_labels to LightningClassifier, and its .sampler to the "
                "DataLoader: sampler=module.sampler"
            )

    def on_train_epoch_start(self) -> None:
        """Tell the loss its epoch."""
        self.imbalance.set_epoch(self.current_epoch + 1)

    def on_validation_epoch_start(self) -> None:
        """Count from the beginning."""
        self._recall = RecallCount(self.class_names)

    def on_test_epoch_start(self) -> None:
        """Count from the beginning."""
        self._recall = RecallCount(self.class_names)

    def on_validation_epoch_end(self) -> None:
        """Log what was counted."""
        self._log_counted("val")

    def on_test_epoch_end(self) -> None:
        """Log what was counted."""
        self._log_counted("test")

    def _inputs(self, batch: Any) -> Any:
        if isinstance(batch, Mapping):
            target = self._target_if_any(batch)
            return {key: value for key, value in batch.items() if value is not target}
        return batch[0] if isinstance(batch, tuple | list) else batch

    def _target_if_any(self, batch: Any) -> Tensor | None:
        """Batches to predict may have no labels."""
        try:
            return self._find_target(batch)
        except (InputError, LookupError):
            return None

    def _logits_and_target(self, batch: Any) -> tuple[Tensor, Tensor]:
        return self(self._inputs(batch)), self._find_target(batch)

    def _count(self, part: str, batch: Any) -> None:
        logits, target = self._logits_and_target(batch)
        self.log(f"{part}_loss", self.loss(logits, target), batch_size=len(target), sync_dist=True)
        self._recall.add(logits, target)

    def _log_counted(self, part: str) -> None:
        numbers = {f"{part}_{name}": value for name, value in self._recall.numbers().items()}
        self.log_dict(numbers, sync_dist=True)


def _counts(
    labels: Any, class_counts: Sequence[int] | None, class_names: Sequence[str] | None
) -> tuple[int, ...]:
    if labels is None and class_counts is None:
        raise InputError(
            "train_labels must be given, or class_counts, got neither; give the class index of each training "
            "example, often dataset.targets"
        )
    known = len(class_names) if class_names is not None else None
    counts = tuple(class_counts) if class_counts is not None else count_labels(labels, known)
    if known is not None and known != len(counts):
        raise InputError(
            f"class_names must hold {len(counts)} names, one a count, got {known}; give both in one order"
        )
    return counts
