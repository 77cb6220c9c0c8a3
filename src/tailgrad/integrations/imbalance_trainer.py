"""``transformers.Trainer`` with a loss and a sampler for imbalanced classes."""

# ruff: noqa: ARG002 - the framework fixes the arguments of its hooks

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tailgrad.checks import InputError
from tailgrad.integrations.class_imbalance import ClassImbalance, choose_for
from tailgrad.integrations.dataset_labels import Integers, checked_labels, count_labels, dataset_labels
from tailgrad.integrations.imbalance_knob import Knob
from tailgrad.interference.logits_of import logits_of

LOSS_FILE = "class_imbalance.safetensors"
"""State of the loss, in every checkpoint."""


class ImbalanceTrainer(Trainer):
    """The Trainer with one knob more, ``class_imbalance``.

    For image and text classification with one class an example. The loss comes in as the Trainer's
    ``compute_loss_func``, the sampler as its training sampler; everything else is the Trainer's. What was
    chosen is printed. Losses and samplers with a schedule are told their epoch, and the state of a loss goes
    into every checkpoint. ``imbalance`` holds loss, sampler, ledger and text.

    Evaluation takes the same loss, so ``eval_loss`` assumes the training prior; choose checkpoints by a
    metric.

    Args:
        args: of ``Trainer``, in its order.
        class_imbalance: ``"auto"`` (balanced softmax from an imbalance factor of 1.5 on, below it nothing), a
            mapping with ``"loss"``, ``"sampler"`` or both (see ``choose_for``), or None, which is the Trainer
            as it is.
        class_counts: training examples of each class; by default those of ``train_labels``.
        train_labels: class index of each training example; by default read from ``train_dataset``.
        kwargs: of ``Trainer``, by name.

    Raises:
        InputError: an unknown name, two corrections of one prior, labels that cannot be found or are no class
            indices, a class without an example, a model for regression or several labels, or an argument
            of the Trainer that the loss or the sampler would silently replace.

    Source: the interface is that of ``transformers`` 4.49 to 5; what it corrects, see ``choose_for``.

    Example: ``ImbalanceTrainer(model=model, args=arguments, train_dataset=data, class_imbalance="auto")``;
    all of it in ``examples/hugging_face_imbalance.py``.
    """

    def __init__(
        self,
        *args: Any,
        class_imbalance: Knob = "auto",
        class_counts: Sequence[int] | None = None,
        train_labels: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.imbalance = ClassImbalance(None, None, None, "")
        self._labels = None if train_labels is None else checked_labels(train_labels)
        if class_imbalance is None or (self.train_dataset is None and class_counts is None):
            return
        num_classes, names = _classes_of(self.model)
        self.imbalance = choose_for(
            self._counts(class_counts, num_classes),
            class_imbalance,
            class_names=names,
            epochs=_epochs(self.args),
            batch_size=self.args.train_batch_size,
        )
        self._put_in()
        if self.is_world_process_zero():
            print(self.imbalance.text)

    def _labels_found(self) -> Integers:
        if self._labels is None:
            self._labels = dataset_labels(self.train_dataset)
        return self._labels

    def _counts(self, given: Sequence[int] | None, num_classes: int | None) -> Sequence[int]:
        if given is None:
            return count_labels(self._labels_found(), num_classes)
        if num_classes is not None and len(given) != num_classes:
            raise InputError(
                f"class_counts must hold one count for each of the model's {num_classes} classes, got "
                f"{len(given)}; give both the same classes"
            )
        return given

    def _put_in(self) -> None:
        """Loss and sampler in their places, unless something of the user's is there."""
        if self.imbalance.loss is not None:
            _refuse_replaced(self)
            self.imbalance.loss.to(self.args.device)
            self.compute_loss_func = self._loss_of
            self.label_names = self.label_names or ["labels"]  # else dropped, where forward takes none
        if self.imbalance.sampler is not None:
            _refuse_other_order(self.args, self.imbalance.sampler.name)
            self._labels_found()
        self.add_callback(_Epochs(self))

    def _loss_of(self, outputs: Any, labels: Tensor | None, num_items_in_batch: Any = None) -> Tensor:
        """The loss of a batch as the Trainer wants it: its share of the mean over an accumulated batch."""
        if labels is None:
            raise InputError(
                "labels must be in the batch under that name, got none; name the column labels or label, or "
                "let data_collator do so"
            )
        assert self.imbalance.loss is not None
        loss: Tensor = self.imbalance.loss(logits_of(outputs), labels)
        return loss if num_items_in_batch is None else loss * (labels.numel() / num_items_in_batch)

    def _get_train_sampler(self, *args: Any) -> Any:
        if self.imbalance.sampler is None:
            return super()._get_train_sampler(*args)
        labels, dataset = self._labels_found(), self.train_dataset
        if len(labels) != len(dataset):  # type: ignore[arg-type]  # a data set with labels has a length
            raise InputError(
                f"train_dataset must have {len(labels)} examples, one a label, got {dataset!r:.200}; make a "
                "new ImbalanceTrainer for other data"
            )
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return self.imbalance.make_sampler(labels.tolist(), seed)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        file = Path(resume_from_checkpoint) / LOSS_FILE
        if self.imbalance.loss is not None and file.is_file():
            self.imbalance.loss.load_state_dict(load_file(file, str(self.args.device)))


class _Epochs(TrainerCallback):
    """Tells the loss its epochs, and keeps its state in checkpoints."""

    def __init__(self, trainer: ImbalanceTrainer) -> None:
        self._trainer, self._epoch = trainer, 0

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._epoch = int(state.epoch or 0)  # a resumed run begins with a part of one

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._epoch += 1
        self._trainer.imbalance.set_epoch(self._epoch)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        loss = self._trainer.imbalance.loss
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        if loss is not None and loss.state_dict() and args.should_save and folder.is_dir():
            held = {name: value.contiguous() for name, value in loss.state_dict().items()}
            save_file(held, folder / LOSS_FILE)


def _epochs(args: TrainingArguments) -> int | None:
    return None if args.max_steps > 0 else max(1, math.ceil(args.num_train_epochs))


def _classes_of(model: Any) -> tuple[int | None, Sequence[str] | None]:
    """Number and names of the classes, as the model's configuration has them.

    Raises:
        InputError: the model is one for regression, or for several labels an example.
    """
    config = getattr(model, "config", None)
    kind, number = getattr(config, "problem_type", None), getattr(config, "num_labels", None)
    if kind == "regression" or (kind is None and number == 1):
        raise InputError(
            f"model must tell classes apart, got problem_type={kind!r} and num_labels={number}; give it as "
            "many labels as classes (two for two), or set class_imbalance=None"
        )
    if kind == "multi_label_classification":
        raise InputError(
            f"model must give one class an example, got problem_type={kind!r}; set class_imbalance=None and "
            "give compute_loss_func, with MultiLabelAsymmetricLoss or DistributionBalancedLoss"
        )
    names = getattr(config, "id2label", None)
    if not isinstance(number, int) or not isinstance(names, Mapping) or len(names) != number:
        return number if isinstance(number, int) else None, None
    return number, [str(names[k]) for k in sorted(names)]


def _refuse_replaced(trainer: Trainer) -> None:
    args = trainer.args
    if trainer.compute_loss_func is not None:
        raise InputError(
            f"compute_loss_func must be left out with a loss of class_imbalance, got "
            f"{trainer.compute_loss_func!r}; keep one of the two"
        )
    if args.label_smoothing_factor:
        raise InputError(
            f"label_smoothing_factor must be 0 with a loss of class_imbalance, got "
            f"{args.label_smoothing_factor}; take a loss that smooths, such as {{'loss': {{'name': "
            "'cross_entropy', 'options': {'weights': 'inverse', 'label_smoothing': 0.1}}}"
        )
    if args.n_gpu > 1:
        raise InputError(
            f"one process must train on one GPU, got n_gpu={args.n_gpu}; start with torchrun or set "
            "CUDA_VISIBLE_DEVICES"
        )


def _refuse_other_order(args: TrainingArguments, sampler: str) -> None:
    by_length = "group_by_length" if getattr(args, "group_by_length", False) else "random"
    order = getattr(args, "train_sampling_strategy", by_length)
    if order != "random":
        raise InputError(
            f"examples must come in one order, got the sampler {sampler} and {order}; keep one of the two"
        )
