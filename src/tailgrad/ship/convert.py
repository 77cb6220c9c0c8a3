"""From a PyTorch network to the bytes of an ONNX model."""

import inspect
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.ship.extra import needed
from tailgrad.ship.feed import Feed, part

OPSET = 18
OUTPUTS = ("logits", "probabilities")
Way = Callable[[nn.Module, dict[str, Tensor]], bytes]


class WithProbabilities(nn.Module):
    """Logits z, and beside them ``softmax(z / T + s)``, or ``sigmoid(z)`` of several labels.

    Args:
        network: inputs of the graph -> logits [N, K].
        temperature: T.
        shift: s [K], or None.
        several: whether the outputs are labels that do not exclude one another; T is 1 then, without s.

    Example:
        >>> made = WithProbabilities(nn.Identity(), 2.0, None)
        >>> made(torch.tensor([[2.0, 0.0]]))[1]
        tensor([[0.7311, 0.2689]])
    """

    shift: Tensor | None

    def __init__(
        self, network: nn.Module, temperature: float, shift: Tensor | None, several: bool = False
    ) -> None:
        super().__init__()
        self.several = several
        self.network = network
        self.temperature = temperature
        self.register_buffer("shift", shift)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probabilities [N, K]."""
        logits: Tensor = self.network(*inputs)
        if self.several:
            return logits, logits.sigmoid()
        scaled = logits / self.temperature
        return logits, (scaled if self.shift is None else scaled + self.shift).softmax(1)


def converted(network: nn.Module, examples: Feed) -> Iterator[tuple[str, bytes]]:
    """The ways to write a network as ONNX that succeed, the quickest first.

    Tracing takes a second and writes what was run; ``torch.export`` takes half a minute and knows more
    operations. The caller compares outputs and takes the first that agrees.

    Args:
        network: in evaluation mode, inputs of the graph -> (logits, probabilities).
        examples: at least two, by the name of the input; the inputs of the graph are these, in this order.

    Yields:
        the name of the way, and the serialised model, whose number of examples is free.

    Raises:
        InputError: none succeeds, or the extra is not installed.

    Example: see ``ship.export``.
    """
    needed("onnx", "to export")
    reasons, tensors = [], {name: torch.from_numpy(values) for name, values in part(examples, 0, 2).items()}
    for name, way in _WAYS.items():
        try:
            made = _quietly(way, network, tensors)
        except Exception as error:  # exporters raise almost anything
            reasons.append(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            continue
        yield name, made
    if len(reasons) == len(_WAYS):
        raise InputError(
            f"model must be one that ONNX can express, got none from PyTorch {torch.__version__} "
            f"({'; '.join(reasons)}); choose another backbone, or ship it with --pretrained"
        )


def _quietly(way: Way, network: nn.Module, inputs: dict[str, Tensor]) -> bytes:
    """Without the exporters' remarks: what they warn of is what the comparison of outputs finds."""
    with (
        warnings.catch_warnings(),
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
        torch.no_grad(),
    ):
        warnings.simplefilter("ignore")
        return way(network, inputs)


def _traced(network: nn.Module, inputs: dict[str, Tensor]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: "batch"} for name in (*inputs, *OUTPUTS)},
        )
        return file.read_bytes()


def _exported(network: nn.Module, inputs: dict[str, Tensor]) -> bytes:
    number = torch.export.Dim("batch", min=1, max=2**16)
    program = torch.onnx.export(
        network,
        tuple(inputs.values()),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(inputs),
        output_names=list(OUTPUTS),
        dynamic_shapes=_shapes(network, tuple({0: number} for _ in inputs)),
    )
    if program is None:
        raise RuntimeError("nothing was made")
    made: bytes = program.model_proto.SerializeToString()
    return made


def _shapes(network: nn.Module, shapes: tuple[dict[int, Any], ...]) -> tuple[Any, ...]:
    """Nested once more where the network takes any number of inputs by ``*inputs``."""
    kinds = {one.kind for one in inspect.signature(network.forward).parameters.values()}
    return (shapes,) if inspect.Parameter.VAR_POSITIONAL in kinds else shapes


_WAYS: dict[str, Way] = {"tracing": _traced, "torch.export": _exported}
