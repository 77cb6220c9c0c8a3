"""The same small network trained by a loop, Lightning, Hugging Face and scikit-learn, all alike."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tailgrad.evidence.analyses.small_sets import Part, SmallSet
from tailgrad.evidence.analyses.small_training import small_network

RATE, DECAY = 1e-3, 1e-4
Settings = dict[str, Any]
Trained = Callable[[str, SmallSet, Settings, int], Any]
"""knob, data, settings and seed -> predicted classes of the test part [N]"""


def by_loop(knob: str, data: SmallSet, settings: Settings, seed: int) -> Tensor:
    """Batches, loss, step; the loss of the knob by hand.

    Returns:
        Predicted classes of the test part [N].

    Example: see ``tests/evidence/test_frameworks.py``.
    """
    from tailgrad.integrations import choose_for

    loss = choose_for(data.counts, _knob(knob)).loss or F.cross_entropy
    model = _network(data, settings, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    with _seeded(seed):
        loader = _loader(data.train, settings)
        for _ in range(settings["epochs"]):
            for inputs, target in loader:
                optimizer.zero_grad()
                loss(model(inputs), target).backward()
                optimizer.step()
    return _classes(model, data.test)


def by_lightning(knob: str, data: SmallSet, settings: Settings, seed: int) -> Tensor:
    """``LightningClassifier`` and Lightning's Trainer.

    Example: see ``tests/evidence/test_frameworks.py``.
    """
    from lightning.pytorch import Trainer

    from tailgrad.integrations import LightningClassifier

    model = _network(data, settings, seed)
    module = LightningClassifier(
        model,
        data.train.target,
        class_imbalance=_knob(knob),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY),
        epochs=settings["epochs"],
    )
    with _seeded(seed), _silence("lightning.pytorch"):
        trainer = Trainer(
            max_epochs=settings["epochs"],
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        trainer.fit(module, _loader(data.train, settings))
    return _classes(model, data.test)


def by_hugging_face(knob: str, data: SmallSet, settings: Settings, seed: int) -> Tensor:
    """``ImbalanceTrainer``, without the schedule and the clipping that the Trainer has by default.

    Example: see ``tests/evidence/test_frameworks.py``.
    """
    from transformers import TrainingArguments

    from tailgrad.integrations import ImbalanceTrainer

    model = _Answers(_network(data, settings, seed), data.num_classes)
    with tempfile.TemporaryDirectory() as folder, _seeded(seed), _silence("transformers"):
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=settings["epochs"],
            per_device_train_batch_size=settings["batch"],
            learning_rate=RATE,
            weight_decay=DECAY,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            seed=seed,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        examples = _Mappings(data.train)
        ImbalanceTrainer(
            model=model, args=arguments, train_dataset=examples, class_imbalance=_knob(knob)
        ).train()
    return _classes(model.network, data.test)


def by_scikit_learn(knob: str, data: SmallSet, settings: Settings, seed: int) -> Any:
    """``TailgradClassifier``.

    Example: see ``tests/evidence/test_frameworks.py``.
    """
    from tailgrad.integrations import TailgradClassifier

    model = TailgradClassifier(
        loss="auto" if knob == "auto" else "cross_entropy",
        hidden=(settings["width"],),
        epochs=settings["epochs"],
        batch_size=settings["batch"],
        learning_rate=RATE,
        weight_decay=DECAY,
        random_state=seed,
    )
    return model.fit(data.train.inputs.numpy(), data.train.target.numpy()).predict(data.test.inputs.numpy())


def _knob(knob: str) -> str | None:
    return "auto" if knob == "auto" else None


def _network(data: SmallSet, settings: Settings, seed: int) -> nn.Module:
    return small_network(data.train.inputs.shape[1], data.num_classes, width=settings["width"], seed=seed)


def _loader(part: Part, settings: Settings) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(part.inputs, part.target), batch_size=settings["batch"], shuffle=True)


@torch.no_grad()
def _classes(model: nn.Module, part: Part) -> Tensor:
    found: Tensor = model.eval()(part.inputs).argmax(1)
    return found


class _Answers(nn.Module):
    """A network as the Trainer of Hugging Face wants one: keywords in, loss and logits out."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network, self.num_labels = network, classes

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits: Tensor = self.network(inputs)
        return (
            {"logits": logits}
            if labels is None
            else {"loss": F.cross_entropy(logits, labels), "logits": logits}
        )


class _Mappings(Dataset[dict[str, Tensor]]):
    """Examples as the Trainer of Hugging Face wants them."""

    def __init__(self, part: Part) -> None:
        self.part = part

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"inputs": self.part.inputs[index], "labels": self.part.target[index]}


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _silence(logger: str) -> Iterator[None]:
    """Without what a framework prints, logs and warns of: loaders without workers, mostly."""
    talker = logging.getLogger(logger)
    level = talker.level
    talker.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        talker.setLevel(level)
