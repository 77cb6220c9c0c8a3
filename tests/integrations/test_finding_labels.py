"""Labels in batches of any form, and names that load only when used."""

import subprocess
import sys
from typing import Any

import pytest
import torch

import tailgrad.integrations
from tailgrad.checks import InputError
from tailgrad.integrations.labels import Labelled, labels_of

LABELS = torch.tensor([2, 0])
INPUTS = torch.zeros(2, 3)


@pytest.mark.parametrize(
    "batch",
    [
        (INPUTS, LABELS),
        [INPUTS, LABELS, "anything"],
        {"labels": LABELS, "x": INPUTS},
        {"x": INPUTS, "label": LABELS},
        {"target": LABELS},
        {"target": INPUTS, "labels": LABELS},
    ],
)
def test_labels_are_found(batch: Any) -> None:
    assert labels_of(batch) is LABELS


@pytest.mark.parametrize(
    ("batch", "came"),
    [
        (INPUTS, "got Tensor"),
        ((INPUTS,), "got tuple"),
        ((INPUTS, [2, 0]), "got tuple"),
        ({"x": INPUTS, "y": LABELS}, "got a mapping with x, y"),
        ({}, "got a mapping with nothing"),
        ({"labels": None}, "got a mapping with labels"),
    ],
)
def test_a_batch_without_labels_is_named(batch: Any, came: str) -> None:
    with pytest.raises(InputError, match=f"batch must be .*{came}; .*target=lambda batch"):
        labels_of(batch)


def test_labelled_batches_can_be_read_twice_and_hide_the_labels_from_the_inputs() -> None:
    found = Labelled([{"x": INPUTS, "y": LABELS}], lambda batch: batch["y"])
    for _ in range(2):
        assert [(list(inputs), target is LABELS) for inputs, target in found] == [(["x"], True)]
    [(inputs, target)] = Labelled([(INPUTS, LABELS, "id")])
    assert inputs is INPUTS
    assert target is LABELS


def test_an_unknown_name_and_the_list_of_names() -> None:
    assert dir(tailgrad.integrations) == tailgrad.integrations.__all__
    with pytest.raises(AttributeError, match="no attribute 'KerasCallback'"):
        _ = tailgrad.integrations.KerasCallback


def _python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_importing_the_folder_imports_no_framework() -> None:
    found = _python(
        "import sys, tailgrad.integrations\nprint({'lightning', 'transformers', 'torch'} & set(sys.modules))"
    )
    assert found.stdout.strip() == "set()", found.stderr


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "tailgrad.integrations.hugging_face_callback", raising=False)
    with pytest.raises(ImportError, match=r'pip install "tailgrad\[huggingface\]"') as found:
        _ = tailgrad.integrations.HuggingFaceCallback
    assert found.value.name == "transformers"


def test_another_missing_module_is_not_blamed_on_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "tailgrad.integrations.lightning_callback", raising=False)
    with pytest.raises(ImportError, match=r"lightning\.pytorch"):
        _ = tailgrad.integrations.LightningCallback
