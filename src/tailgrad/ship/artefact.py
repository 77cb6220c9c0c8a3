"""A shipped network: one ONNX file that ONNX Runtime runs, without PyTorch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.ship.decision import Floats, sigmoid, softmax
from tailgrad.ship.description import Description, read_description
from tailgrad.ship.extra import needed
from tailgrad.ship.feed import IMAGES, Feed, check_feed, graph_inputs, length
from tailgrad.ship.seal import description_of
from tailgrad.ship.target_prior import prior_shift

MAX_BYTES = 2**31
"""Bytes of an artefact; an ONNX file cannot hold more."""


class Artefact:
    """A file of ``export``, checked and ready to run.

    Args:
        path: the file.
        threads: processor threads of one call; 0 leaves it to ONNX Runtime.

    Raises:
        InputError: it is no artefact, was altered, is of a later version, or ONNX Runtime is not installed or
            refuses it.

    Example:
        >>> Artefact("missing.onnx")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: model must be a readable file, got missing.onnx: ...
    """

    description: Description

    def __init__(self, path: str | Path, *, threads: int = 0) -> None:
        self.path = Path(path)
        data = _bytes(self.path)
        self.description = read_description(description_of(data, str(path)), str(path))
        self._session = session(data, str(path), threads)
        inputs = {one.name: one.type for one in self._session.get_inputs()}
        wanted = graph_inputs(self.description)
        if inputs != wanted or len(self._session.get_outputs()) != 2:
            raise InputError(
                f"model must take {' and '.join(wanted)} alone, got {inputs} in {path}; export it again"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, in logit order."""
        return self.description.names

    def logits(self, inputs: NDArray[np.uint8] | Feed) -> Floats:
        """Logits [N, K] of pixels, or of encoded rows.

        Args:
            inputs: pixels uint8 [N, 3, H, W] of the size that the description states; of a table a mapping
                with ``numbers`` float32 [N, F] and ``categories`` int64 [N, C] as its encoding gives them,
                without the kind that has no columns.

        Raises:
            InputError: another shape or type, or the graph fails or gives numbers that are not finite.
        """
        feed: Feed = {IMAGES: inputs} if isinstance(inputs, np.ndarray) else inputs
        check_feed(feed, self.description)
        n, k = length(feed), len(self.names)
        if not n:
            return np.zeros((0, k))
        try:
            found = np.asarray(self._session.run(["logits"], dict(feed))[0], np.float64)
        except Exception as error:  # whatever ONNX Runtime raises
            raise InputError(
                f"model must run, got {_first_line(error)} from {self.path}; export it again"
            ) from error
        if found.shape != (n, k) or not np.isfinite(found).all():
            raise InputError(
                f"model must give {k} finite logits for each of {n} {self.description.kind}, got "
                f"{list(found.shape)} from {self.path}; export it again"
            )
        return found

    def probabilities(self, logits: Floats, target: Sequence[float] | None = None) -> Floats:
        """Probabilities [N, K] of logits, for the frequencies ``target`` or those stored at export.

        Of several labels each has its own; they do not sum to 1.

        Raises:
            InputError: a target prior for a network whose own prior is not known.
        """
        if self.description.several_labels:
            return sigmoid(logits)
        scaled = logits / self.description.temperature
        target = self.description.target_prior if target is None else target
        return softmax(scaled if target is None else scaled + prior_shift(self.description.prior, target))


def _bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise ValueError("no ordinary file")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"{size} bytes where {MAX_BYTES} are the limit")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"model must be a readable file, got {path}: {error}; check the path") from error


def session(data: bytes, name: str, threads: int) -> Any:
    """An ONNX Runtime session over the bytes of a model; tensors in other files are not found.

    Raises:
        InputError: ONNX Runtime is not installed, or refuses the model.

    Example: see ``Artefact``.
    """
    runtime = needed("onnxruntime", "to run an exported model")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    try:
        # Without a second try, which would print remarks on standard output.
        return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # whatever ONNX Runtime raises
        raise InputError(
            f"model must be one that ONNX Runtime {runtime.__version__} takes, got {_first_line(error)} from "
            f"{name}; export it again"
        ) from error


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
