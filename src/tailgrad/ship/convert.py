"""From a PyTorch network to the bytes of an ONNX model."""

import io
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.ship.extra import needed

OPSET = 18
INPUT, OUTPUTS = "images", ("logits", "probabilities")


class WithProbabilities(nn.Module):
    """Logits z, and beside them ``softmax(z / T + s)``, or ``sigmoid(z)`` of several labels.

    Args:
        network: images -> logits [N, K].
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

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probabilities [N, K]."""
        logits: Tensor = self.network(images)
        if self.several:
            return logits, logits.sigmoid()
        scaled = logits / self.temperature
        return logits, (scaled if self.shift is None else scaled + self.shift).softmax(1)


def converted(network: nn.Module, images: Tensor) -> Iterator[tuple[str, bytes]]:
    """The ways to write a network as ONNX that succeed, the quickest first.

    Tracing takes a second and writes what was run; ``torch.export`` takes half a minute and knows more
    operations. The caller compares outputs and takes the first that agrees.

    Args:
        network: in evaluation mode, images -> (logits, probabilities).
        images: an example, uint8 [2, 3, H, W].

    Yields:
        the name of the way, and the serialised model, whose number of images is free.

    Raises:
        InputError: none succeeds, or the extra is not installed.

    Example: see ``ship.export``.
    """
    needed("onnx", "to export")
    reasons = []
    for name, way in _WAYS.items():
        try:
            made = _quietly(way, network, images)
        except Exception as error:  # exporters raise almost anything
            reasons.append(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            continue
        yield name, made
    if len(reasons) == len(_WAYS):
        raise InputError(
            f"model must be one that ONNX can express, got none from PyTorch {torch.__version__} "
            f"({'; '.join(reasons)}); choose another backbone, or ship it with --pretrained"
        )


def _quietly(way: Callable[[nn.Module, Tensor], bytes], network: nn.Module, images: Tensor) -> bytes:
    """Without the exporters' remarks: what they warn of is what the comparison of outputs finds."""
    with (
        warnings.catch_warnings(),
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
        torch.no_grad(),
    ):
        warnings.simplefilter("ignore")
        return way(network, images)


def _traced(network: nn.Module, images: Tensor) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            network,
            (images,),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: "batch"} for name in (INPUT, *OUTPUTS)},
        )
        return file.read_bytes()


def _exported(network: nn.Module, images: Tensor) -> bytes:
    program = torch.onnx.export(
        network,
        (images,),
        dynamo=True,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=2**16)},),
    )
    if program is None:
        raise RuntimeError("nothing was made")
    made: bytes = program.model_proto.SerializeToString()
    return made


_WAYS: dict[str, Callable[[nn.Module, Tensor], bytes]] = {"tracing": _traced, "torch.export": _exported}
