"""Eight-bit weights and activations, and what they cost each class."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.evaluate import mcnemar_exact
from tailgrad.evaluate.intervals import wilson
from tailgrad.ship.extra import needed
from tailgrad.ship.feed import IMAGES, Feed, batches

Classes = NDArray[np.int64]
_BATCH = 16


def quantized(model: bytes, examples: Feed) -> bytes:
    """A model with weights of eight bits.

    A network with convolutions, or for rows, gets activations of eight bits too, whose ranges are those of
    ``examples``; for any other the ranges are found batch by batch (dynamic quantisation), which for rows
    would let an extreme one change what is said of those beside it. Both are unsigned: where signed
    weights meet unsigned activations, processors without VNNI clip sums of two products to 16 bits, and the
    answer depends on the machine. What makes probabilities of logits stays in single precision.

    Args:
        model: serialised ONNX.
        examples: of the training part, by the name of the input.

    Raises:
        InputError: the extra is not installed, or ONNX Runtime cannot quantise the model.

    Example: see ``ship.export``.
    """
    tools = needed("onnxruntime.quantization", "to quantise")
    shapes = needed("onnxruntime.quantization.shape_inference", "to quantise")
    graph = needed("onnx", "to quantise").load_model_from_string(model).graph
    static = IMAGES not in examples or any(node.op_type == "Conv" for node in graph.node)
    with tempfile.TemporaryDirectory() as name, _quiet():
        plain, ready, small = (Path(name) / part for part in ("plain.onnx", "ready.onnx", "small.onnx"))
        plain.write_bytes(model)
        try:
            shapes.quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
            kept = _after_logits(needed("onnx", "to quantise").load(str(ready)).graph)
            if static:
                tools.quantize_static(
                    str(ready),
                    str(small),
                    _reader(tools, examples),
                    quant_format=tools.QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=tools.QuantType.QUInt8,
                    weight_type=tools.QuantType.QUInt8,
                    nodes_to_exclude=kept,
                )
            else:
                tools.quantize_dynamic(
                    str(ready), str(small), weight_type=tools.QuantType.QUInt8, nodes_to_exclude=kept
                )
        except Exception as error:  # the tools raise almost anything
            raise InputError(
                f"model must be one that ONNX Runtime can quantise, got {type(error).__name__}: "
                f"{' '.join(str(error).split())[:160]}; export without int8"
            ) from error
        return small.read_bytes()


def _after_logits(graph: Any) -> list[str]:
    """Names of the nodes that come after the logits."""
    reached, names = {"logits"}, []
    for node in graph.node:  # each after those it draws on
        if not reached.isdisjoint(node.input):
            reached.update(node.output)
            names.append(node.name)
    return names


def _reader(tools: Any, examples: Feed) -> Any:
    class Reader(tools.CalibrationDataReader):  # type: ignore[misc]  # of a package that may be missing
        """Batches of examples, in order."""

        def __init__(self) -> None:
            self._left = batches(examples, _BATCH)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            """The next batch, or None."""
            return next(self._left, None)

    return Reader()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def cost(
    before: NDArray[np.int64], after: NDArray[np.int64], target: NDArray[np.int64], names: Sequence[str]
) -> dict[str, Any]:
    """Recall of every class before and after, with Wilson intervals, and how many predictions changed.

    Of several labels, an image has changed where any of its labels did and is right where all of them are.

    Args:
        before: predicted classes [N] in single precision, or zeros and ones [N, K] of several labels.
        after: those in int8.
        target: true classes [N] or [N, K].
        names: K class names.

    Returns:
        ``images`` (of a table rows), ``changed``, ``only_before`` and ``only_after`` (right in one of the two
        alone), ``p`` of McNemar's exact test, and ``classes``: name, support, before, after, changed; of
        several labels also ``precision_before`` and ``precision_after``, and what changed among all images.

    Example:
        >>> found = cost(np.array([0, 1]), np.array([0, 0]), np.array([0, 1]), ["a", "b"])
        >>> found["changed"], found["only_before"], found["classes"][1]["after"]["value"]
        (1, 1, 0.0)
    """
    same, first, second = (_whole(a == b) for a, b in ((before, after), (before, target), (after, target)))
    test = mcnemar_exact(first, second)
    if target.ndim == 1:
        rows = [_class_cost(k, name, before, after, target) for k, name in enumerate(names)]
    else:
        rows = [_label_cost(name, *of) for name, *of in zip(names, before.T, after.T, target.T, strict=True)]
    return {
        "images": len(target),
        "changed": int((~same).sum()),
        "only_before": test.only_a,
        "only_after": test.only_b,
        "p": test.p,
        "classes": rows,
    }


def _whole(equal: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[N]: of several labels, whether all are equal."""
    return equal if equal.ndim == 1 else np.asarray(equal.all(1))


def _class_cost(k: int, name: str, before: Classes, after: Classes, target: Classes) -> dict[str, Any]:
    own = target == k
    return {
        "name": name,
        "support": int(own.sum()),
        "before": _share(before == k, own),
        "after": _share(after == k, own),
        "changed": int((own & (before != after)).sum()),
    }


def _label_cost(name: str, before: Classes, after: Classes, target: Classes) -> dict[str, Any]:
    has = target == 1
    return {
        "name": name,
        "support": int(has.sum()),
        "before": _share(before == 1, has),
        "after": _share(after == 1, has),
        "precision_before": _share(has, before == 1),
        "precision_after": _share(has, after == 1),
        "changed": int((before != after).sum()),
    }


def _share(of: NDArray[np.bool_], among: NDArray[np.bool_]) -> dict[str, Any]:
    found = wilson(int((among & of).sum()), int(among.sum()))
    return {"value": found.value, "low": found.low, "high": found.high}
