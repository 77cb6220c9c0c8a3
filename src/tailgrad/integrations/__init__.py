"""Monitoring, losses and samplers in the training loops of others: Lightning, the Hugging Face Trainer.

**Training.** ``ImbalanceTrainer`` and ``LightningClassifier`` have one knob, ``class_imbalance``: ``"auto"``,
a mapping with a loss, a sampler or both, or None (``choose_for``). What was chosen is printed.

    ImbalanceTrainer(model=model, args=arguments, train_dataset=data, class_imbalance="auto").train()
    Trainer().fit(LightningClassifier(network, labels, class_imbalance={"loss": "focal"}), loader)

**Vectors.** ``TailgradClassifier`` is an estimator of scikit-learn, with a network inside.

**Monitoring.** An integration owns one ``tailgrad.interference.Monitor`` and calls, for every (micro-)batch,
``begin(target)`` before the forward pass and ``backward_done()`` after the backward pass, and ``step_done()``
after each optimiser step. It reads and never changes: weights come out bit-identical with and without it. It
has ``records`` (one dictionary a measurement), sends their numbers to the framework's own log, and prints
``summary()`` when training ends.

    Trainer(callbacks=[LightningCallback(every=20)])              # lightning.pytorch
    Trainer(..., callbacks=[HuggingFaceCallback(every=20)])       # transformers

    monitor = tailgrad.interference.Monitor(model, class_names, every=20)     # a loop of one's own
    for images, target in loader:
        with monitor.watch(target):
            loss = criterion(model(images), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(monitor.summary())

To add a framework: one file with one class, one line in ``_HOME``, one test file that compares weights with
and without it. Nothing is imported before its name is used: a framework that is missing does no harm.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "HuggingFaceCallback": "tailgrad.integrations.hugging_face_callback",
    "ImbalanceTrainer": "tailgrad.integrations.imbalance_trainer",
    "LightningCallback": "tailgrad.integrations.lightning_callback",
    "LightningClassifier": "tailgrad.integrations.lightning_classifier",
    "TailgradClassifier": "tailgrad.integrations.scikit_learn",
    "choose_for": "tailgrad.integrations.class_imbalance",
}
__all__ = sorted(_HOME)

_NEEDS = dict.fromkeys(["HuggingFaceCallback", "ImbalanceTrainer"], ("transformers", "huggingface"))


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tailgrad.integrations' has no attribute {name!r}")
    package, extra = _NEEDS.get(name, ("", ""))
    try:
        return getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if not package or (error.name or "").partition(".")[0] != package:
            raise
        raise ModuleNotFoundError(
            f"{name} needs the package {package}, which is not installed; "
            f'run pip install "tailgrad[{extra}]"',
            name=package,
        ) from error


def __dir__() -> list[str]:
    return [*__all__]
