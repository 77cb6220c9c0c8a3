"""The monitor inside the Hugging Face Trainer."""

# ruff: noqa: ARG002 - the framework fixes the arguments of its hooks

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tailgrad.checks import InputError

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from tailgrad.integrations import HuggingFaceCallback  # noqa: E402

CLASSES = ["ape", "bee", "cat"]


def bert(**options: Any) -> nn.Module:
    """Two layers, with dropout: an extra random number would show in the weights."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
        id2label=dict(enumerate(CLASSES)),
        label2id={name: k for k, name in enumerate(CLASSES)},
        **options,
    )
    return transformers.BertForSequenceClassification(config)


def vit() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=8,
        patch_size=4,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        hidden_dropout_prob=0.1,
        num_labels=3,
    )
    return transformers.ViTForImageClassification(config)


def text() -> list[dict[str, Tensor]]:
    torch.manual_seed(3)
    labels = [0] * 14 + [1] * 6 + [2] * 4
    return [{"input_ids": torch.randint(30, (9,)), "labels": torch.tensor(k)} for k in labels]


def images() -> list[dict[str, Tensor]]:
    torch.manual_seed(3)
    labels = [0] * 14 + [1] * 6 + [2] * 4
    return [{"pixel_values": torch.randn(3, 8, 8), "labels": torch.tensor(k)} for k in labels]


def trainer_of(
    folder: Path, model: nn.Module, data: Any, callback: Any = None, **options: Any
) -> "transformers.Trainer":
    own = {key: options.pop(key) for key in ("compute_loss_func", "eval_dataset") if key in options}
    chosen: dict[str, Any] = {
        "max_steps": 4,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "logging_steps": 2,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        **options,
    }
    return transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(output_dir=str(folder), **chosen),
        train_dataset=data,
        callbacks=[callback] if callback else [],
        **own,
    )


# What the monitor is told


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_every_batch_and_every_step_are_told(spy: Any, tmp_path: Path, accumulate: int) -> None:
    callback = HuggingFaceCallback()
    options = {"max_steps": -1, "num_train_epochs": 1, "gradient_accumulation_steps": accumulate}
    trainer = trainer_of(tmp_path, bert(), text(), callback, **options)
    trainer.train()
    groups = [accumulate] * (6 // accumulate) + ([6 % accumulate] if 6 % accumulate else [])
    groups = groups[: trainer.state.global_step]  # transformers 4.46 leaves an uneven last group out
    expected = [call for n in groups for call in (*(["begin", "backward"] * n), "step")]
    assert spy.latest.calls == [*expected, "cancel"]
    told = torch.cat(spy.latest.targets).tolist()
    assert len(told) == 4 * sum(groups)
    assert sum(groups) < 6 or sorted(told) == [0] * 14 + [1] * 6 + [2] * 4


def test_the_update_has_been_applied_when_a_step_is_told(spy: Any, tmp_path: Path) -> None:
    model = bert()
    trainer_of(tmp_path, model, text(), HuggingFaceCallback(), max_steps=2).train()
    first, last = spy.latest.weights
    assert not torch.equal(first, last)
    assert torch.equal(last, torch.cat([p.detach().flatten() for p in model.parameters()]))


def test_evaluation_is_not_listened_to(spy: Any, tmp_path: Path) -> None:
    callback = HuggingFaceCallback()
    options = {"eval_strategy": "steps", "eval_steps": 1, "eval_dataset": text()}
    trainer_of(tmp_path, bert(), text(), callback, **options).train()
    assert spy.latest.calls == [*(["begin", "backward", "step"] * 4), "cancel"]


def test_the_arguments_reach_the_monitor(spy: Any, tmp_path: Path) -> None:
    model = vit()
    callback = HuggingFaceCallback(
        7, seconds=2.5, parameters="all", class_names=3, target=lambda arguments: arguments["labels"] + 0
    )
    trainer_of(tmp_path, model, images(), callback, max_steps=1).train()
    monitor = spy.latest
    assert (monitor.every, monitor.seconds, monitor.parameters, monitor.classes) == (7, 2.5, "all", 3)
    assert monitor.model is model
    assert monitor.scaler is None
    assert {"pixel_values", "labels"} <= set(monitor.call[1])
    trainer_of(tmp_path, bert(), text(), HuggingFaceCallback(), max_steps=1).train()
    assert spy.latest.classes == CLASSES


@pytest.mark.parametrize("way", ["smoothing", "own loss"])
def test_labels_that_the_trainer_takes_out_are_read_after_attach(spy: Any, tmp_path: Path, way: str) -> None:
    def own(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return nn.functional.cross_entropy(outputs.logits, labels)

    options: dict[str, Any] = (
        {"label_smoothing_factor": 0.1} if way == "smoothing" else {"compute_loss_func": own}
    )
    with pytest.raises(InputError, match=r"labels must reach the model, got .*callback\.attach\(trainer\)"):
        trainer_of(tmp_path, bert(), text(), HuggingFaceCallback(), **options).train()
    callback = HuggingFaceCallback()
    trainer = trainer_of(tmp_path, bert(), text(), **options)
    assert callback.attach(trainer) is trainer
    trainer.train()
    assert spy.latest.calls == [*(["begin", "backward", "step"] * 4), "cancel"]
    assert all(len(target) == 4 for target in spy.latest.targets)


def test_the_gradient_scaler_reaches_the_monitor(spy: Any) -> None:
    arguments: Any = SimpleNamespace(deepspeed=None, fsdp=[], n_gpu=1)
    nothing: Any = None
    scaler = torch.amp.GradScaler("cpu")
    callback = HuggingFaceCallback(class_names=2)
    optimizer = SimpleNamespace(scaler=scaler)
    callback.on_train_begin(arguments, nothing, nothing, model=nn.Linear(2, 2), optimizer=optimizer)
    assert spy.latest.scaler is scaler


def test_an_interrupted_run_leaves_no_second_hook(spy: Any, tmp_path: Path) -> None:
    class Breaks(transformers.TrainerCallback):
        def on_substep_end(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("out of luck")

    model, callback = bert(), HuggingFaceCallback()
    trainer = trainer_of(tmp_path, model, text(), callback, gradient_accumulation_steps=2)
    trainer.add_callback(Breaks())
    with pytest.raises(RuntimeError, match="out of luck"):
        trainer.train()
    broken = spy.latest
    trainer_of(tmp_path, model, text(), callback, max_steps=1).train()
    assert broken.calls == ["begin", "backward", "cancel"]
    assert spy.latest.calls == ["begin", "backward", "step", "cancel"]
    assert not model._forward_pre_hooks


# What comes of it


@pytest.mark.parametrize("attached", [False, True])
def test_numbers_go_to_the_history_and_hide_none_of_the_trainers_own(
    spy: Any, tmp_path: Path, attached: bool
) -> None:
    plain = trainer_of(tmp_path, bert(), text())
    plain.train()
    callback = HuggingFaceCallback()
    trainer = trainer_of(tmp_path, bert(), text(), None if attached else callback)
    if attached:
        callback.attach(trainer)
    trainer.train()
    history = trainer.state.log_history
    ours = [entry for entry in history if "interference/steps" in entry]
    assert [(e["step"], e["interference/steps"], e["interference/norm/a"]) for e in ours] == [
        (n, float(n), 0.5) for n in (1, 2, 3, 4)
    ]
    losses = [[(e["step"], e["loss"]) for e in t.state.log_history if "loss" in e] for t in (plain, trainer)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 2


def test_attached_numbers_reach_the_other_callbacks(spy: Any, tmp_path: Path) -> None:
    heard: list[str] = []

    class Listener(transformers.TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            heard.extend(key for key in logs if key.startswith("interference/"))

    trainer = trainer_of(tmp_path, bert(), text(), Listener(), max_steps=1)
    HuggingFaceCallback().attach(trainer).train()
    assert heard == ["interference/steps", "interference/norm/a"]


def test_numbers_are_saved_with_a_checkpoint(spy: Any, tmp_path: Path) -> None:
    options = {"save_strategy": "steps", "save_steps": 2, "max_steps": 2}
    trainer_of(tmp_path, bert(), text(), HuggingFaceCallback(), **options).train()
    saved = json.loads((tmp_path / "checkpoint-2" / "trainer_state.json").read_text())
    assert [e["step"] for e in saved["log_history"] if "interference/steps" in e] == [1, 2]


def test_the_summary_is_printed_and_the_model_left_clean(
    spy: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, callback = bert(), HuggingFaceCallback()
    assert callback.summary() == "Training has not started."
    trainer_of(tmp_path, model, text(), callback).train()
    assert "4 records" in capsys.readouterr().out.splitlines()
    assert not model._forward_pre_hooks
    trainer_of(tmp_path, model, text(), callback, max_steps=1).train()
    assert len(callback.records) == 1


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("build", "rows"), [(bert, text), (vit, images)], ids=["bert", "vit"])
def test_weights_are_bit_identical_with_and_without_it(
    tmp_path: Path, build: Any, rows: Any, accumulate: int
) -> None:
    plain, watched = build(), build()
    options = {"gradient_accumulation_steps": accumulate}
    trainer_of(tmp_path, plain, rows(), **options).train()
    callback = HuggingFaceCallback(every=2)
    callback.attach(trainer_of(tmp_path, watched, rows(), **options)).train()
    assert callback.records
    assert all(record["batches"] == accumulate for record in callback.records)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name
    assert callback.summary()


# Refusals


def test_a_model_without_names_asks_for_them() -> None:
    arguments: Any = SimpleNamespace(deepspeed=None, fsdp=[], n_gpu=1)
    nothing: Any = None
    with pytest.raises(InputError, match="class_names must be given where model.config has no id2label"):
        HuggingFaceCallback().on_train_begin(arguments, nothing, nothing, model=nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"deepspeed": "zero3.json", "fsdp": []}, "got deepspeed"),
        ({"deepspeed": None, "fsdp": ["full_shard"]}, "got fsdp"),
        ({"deepspeed": None, "fsdp": [], "n_gpu": 2}, "one process must train on one GPU, got n_gpu=2"),
    ],
)
def test_models_in_several_parts_are_refused(arguments: dict[str, Any], said: str) -> None:
    nothing: Any = None
    given: Any = SimpleNamespace(**arguments)
    with pytest.raises(InputError, match=said):
        HuggingFaceCallback().on_train_begin(given, nothing, nothing, model=nn.Linear(2, 2))


def test_an_attached_trainer_without_labels_says_what_came(spy: Any, tmp_path: Path) -> None:
    class Unlabelled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 3)

        def forward(self, x: Tensor, answer: Tensor) -> dict[str, Tensor]:
            logits = self.layer(x)
            return {"loss": nn.functional.cross_entropy(logits, answer), "logits": logits}

    rows = [{"x": torch.randn(2), "answer": torch.tensor(k % 3)} for k in range(8)]
    trainer = trainer_of(tmp_path, Unlabelled(), rows)
    with pytest.raises(InputError, match="got a mapping with x, answer; say where"):
        HuggingFaceCallback(class_names=3).attach(trainer).train()
    callback = HuggingFaceCallback(class_names=3, target=lambda arguments: arguments["answer"])
    trainer_of(tmp_path, Unlabelled(), rows, callback).train()
    assert spy.latest.calls == [*(["begin", "backward", "step"] * 4), "cancel"]
