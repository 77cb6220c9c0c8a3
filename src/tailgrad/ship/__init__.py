"""Trained networks on their way to where they are used.

``export`` makes an artefact of a finished run: one ONNX file with weights, preprocessing, class names,
temperature, prior and thresholds, sealed by a hash; of several labels an image, a threshold for each; of a
table, the encoding of its columns in place of preprocessing. ``predict`` classifies files by a run, an
artefact or a pretrained folder; from an artefact it loads ONNX Runtime and Pillow, and no PyTorch.
``save_pretrained`` and ``from_pretrained`` write and read the Hugging Face layout with a model card.

    tailgrad.export("runs/a", "a.onnx")
    tailgrad.predict("a.onnx", ["new/"], top_k=3, abstain=0.6)

To ship another kind of model, add its task to ``Description``, its inputs to ``feed``, a network that takes
them as ``Deployed`` and ``DeployedRows`` do, and what reads them to ``predict``.
"""

from typing import TYPE_CHECKING

from tailgrad.lazy import lazy_package

if TYPE_CHECKING:
    from tailgrad.ship.artefact import Artefact
    from tailgrad.ship.decision import Prediction
    from tailgrad.ship.export import Exported, export
    from tailgrad.ship.fused import fused
    from tailgrad.ship.predict import predict
    from tailgrad.ship.prediction_table import write_predictions
    from tailgrad.ship.pretrained import Pretrained, from_pretrained, save_pretrained

__all__ = [
    "Artefact",
    "Exported",
    "Prediction",
    "Pretrained",
    "export",
    "from_pretrained",
    "fused",
    "predict",
    "save_pretrained",
    "write_predictions",
]

# On use: predicting from an artefact loads no PyTorch.
__getattr__ = lazy_package(
    __name__,
    {
        "Artefact": "artefact",
        "Exported": "export",
        "Prediction": "decision",
        "Pretrained": "pretrained",
        "export": "export",
        "from_pretrained": "pretrained",
        "fused": "fused",
        "predict": "predict",
        "save_pretrained": "pretrained",
        "write_predictions": "prediction_table",
    },
)
