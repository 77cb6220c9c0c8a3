"""Eight bits: what they may change of an answer, and what they cost each class."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.recipes import RunFolder
from tailgrad.ship import export, predict
from tailgrad.ship.convert import WithProbabilities, converted
from tailgrad.ship.int8 import cost, quantized

WHITE = np.full((4, 3, 6, 6), 255, np.uint8)


class Scaled(nn.Module):
    """One layer on pixels from 0 to 1, then the mean over the picture."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:
        found = self.layer(images.float() / 255)
        return found.mean((2, 3)) if found.ndim == 4 else found


def conv(weight: NDArray[np.float32]) -> Scaled:
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], bias=False)
    layer.weight.data = torch.from_numpy(weight)
    return Scaled(layer)


def answers(network: nn.Module, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits by PyTorch, and by ONNX Runtime in eight bits."""
    whole = WithProbabilities(network, 1.0, None).eval()
    _, model = next(converted(whole, {"images": images}))
    small = onnxruntime.InferenceSession(
        quantized(model, {"images": images}), providers=["CPUExecutionProvider"]
    )
    with torch.no_grad():
        exact = network(torch.from_numpy(images)).numpy()
    return exact, small.run(["logits"], {"images": images})[0]


@pytest.mark.parametrize("weight", [1.0, -1.0, 0.3])
def test_the_largest_sums_are_not_clipped(weight: float) -> None:
    """Every product is as large as it can be: signed weights lose half of the sum on many processors."""
    exact, small = answers(conv(np.full((5, 3, 3, 3), weight, np.float32)), WHITE)
    assert exact == pytest.approx(27 * weight)
    assert small == pytest.approx(27 * weight, rel=0.02)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**31), spread=st.floats(0.05, 4.0))
def test_an_answer_is_off_by_steps_of_the_grid_at_most(seed: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    weight = (spread * random.normal(size=(4, 3, 3, 3))).astype(np.float32)
    images = random.integers(0, 256, (8, 3, 6, 6), np.uint8)
    exact, small = answers(conv(weight), images)
    # half a step of 1/255 in each of 27 pixels, half a step of each channel's weights, and of what comes out
    own = np.maximum(weight.max((1, 2, 3)), 0) - np.minimum(weight.min((1, 2, 3)), 0)
    pixels = np.abs(weight).sum((1, 2, 3)) * 0.5 / 255
    outputs = np.abs(weight).sum((1, 2, 3)).max() / 255
    assert np.all(np.abs(exact - small) <= pixels + 27 * 0.5 * own / 255 + 2 * outputs)


def test_a_network_without_convolutions_is_quantised_too() -> None:
    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (16, 3, 6, 6), np.uint8)
    exact, small = answers(Scaled(nn.Sequential(nn.Flatten(), nn.Linear(108, 5))), images)
    assert np.abs(exact - small).max() < 0.05 * np.ptp(exact)
    assert np.abs(exact - small).max() > 0, "the weights are on a grid"


def test_what_cannot_be_quantised_is_said() -> None:
    with pytest.raises(
        InputError, match=r"model must be one that ONNX Runtime can quantise, got .*without int8"
    ):
        quantized(_without_images(), {"images": WHITE})


def _without_images() -> bytes:
    """A model whose input has another name than pictures are given under."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Conv", ["other", "weight"], ["logits"])],
        "other",
        [helper.make_tensor_value_info("other", TensorProto.FLOAT, [1, 3, 6, 6])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [helper.make_tensor("weight", TensorProto.FLOAT, [2, 3, 3, 3], np.ones(54, np.float32))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


@given(
    target=st.lists(st.integers(0, 2), min_size=1, max_size=40),
    seed=st.integers(0, 1000),
)
def test_cost_counts_image_by_image(target: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.array(target)
    before, after = random.integers(0, 3, (2, len(truth)))
    found = cost(before, after, truth, ["a", "b", "c"])
    pairs = list(zip(before, after, truth, strict=True))
    assert found["changed"] == sum(b != a for b, a, _ in pairs)
    assert found["only_before"] == sum(b == t != a for b, a, t in pairs)
    assert found["only_after"] == sum(a == t != b for b, a, t in pairs)
    assert sum(row["changed"] for row in found["classes"]) == found["changed"]
    for k, row in enumerate(found["classes"]):
        own = [(b, a) for b, a, t in pairs if t == k]
        assert row["support"] == len(own)
        if own:
            assert row["before"]["value"] == pytest.approx(sum(b == k for b, _ in own) / len(own))
            assert row["after"]["low"] <= row["after"]["value"] <= row["after"]["high"]


@pytest.mark.parametrize("shift", [None, [0.0, 2.0, -1e4]])
@pytest.mark.parametrize("layer", [nn.Conv2d(3, 3, 3), nn.Sequential(nn.Flatten(), nn.Linear(108, 3))])
def test_probabilities_are_those_of_the_logits(layer: nn.Module, shift: list[float] | None) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 6, 6), np.uint8)
    bias = None if shift is None else torch.tensor(shift)
    whole = WithProbabilities(Scaled(layer), 0.7, bias).eval().requires_grad_(False)
    _, model = next(converted(whole, {"images": images}))
    small = onnxruntime.InferenceSession(
        quantized(model, {"images": images}), providers=["CPUExecutionProvider"]
    )
    logits, shares = small.run(["logits", "probabilities"], {"images": images})
    wanted = np.exp(logits / 0.7 + (0 if shift is None else shift))
    np.testing.assert_allclose(shares, wanted / wanted.sum(1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("target", [None, [0.9, 0.1, 0.0]])
def test_the_cost_is_that_of_the_decisions_that_are_shipped(
    run: Path, photos: Path, altered: Callable[..., Path], tmp_path: Path, target: Any
) -> None:
    """A target prior decides, or the threshold of a class in focus, as they do in ``predict``."""
    names = ("round", "square", "thin")
    folder = altered(focus={"class": "square", "threshold": 0.0})
    found = export(folder, tmp_path / "m.onnx", int8=True, target_prior=target).description.int8["classes"]
    rows = RunFolder(folder).path / "split.json"
    test = json.loads(rows.read_text())["parts"]["test"]
    plain = predict(export(folder, tmp_path / "f.onnx", target_prior=target).file, [photos])
    chosen = {str(Path(one.file).relative_to(photos)): one.name for one in plain}
    for k, row in enumerate(found):
        own = [chosen[name] for name, label in zip(test["names"], test["labels"], strict=True) if label == k]
        assert row["before"]["value"] == pytest.approx(np.mean([name == names[k] for name in own]))
    if target is None:
        assert [row["before"]["value"] for row in found] == [0, 1, 0]
        assert [row["changed"] for row in found] == [0, 0, 0]
