"""Use what an extra is for, where nothing but that extra is installed; `make extras` runs this for each.

python tests/try_extra.py mlflow
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
DIGITS = ["digits-lt", "--regime", "quick", "--set", "train.epochs=1"]
TRAIN = ["-m", "tailgrad", "train", *DIGITS, "--out", "run"]
RESAMPLE = """
import numpy as np
from tailgrad.samplers import resample
target = np.repeat([0, 1], [40, 10])
features, labels = resample(np.random.default_rng(0).normal(size=(50, 3)), target, "smote")
assert np.bincount(labels).tolist() == [40, 40] and features.shape == (80, 3)
"""
AGGREGATE = """
import torch
from torchjd.aggregation import PCGrad as Theirs
from tailgrad.optim import PCGrad
rows = torch.tensor([[2.0, 1.0, 0.0], [-1.0, 1.0, 3.0]])
torch.testing.assert_close(PCGrad()(rows), Theirs()(rows) / 2)
"""
SHIP = """
import numpy as np
from PIL import Image
import tailgrad
settings = {"model": {"name": "resnet8"}, "train": {"epochs": 1}, "interference": {"enabled": False}}
run = tailgrad.train("digits-lt", "quick", overrides=settings, out="run", console=None).folder
made = tailgrad.export(run, "model.onnx", int8=True, calibrate=True, target_prior="train")
Image.fromarray(np.zeros((8, 8), np.uint8)).save("1.png")
assert len(tailgrad.predict(made.file, ["1.png"], top_k=3)[0].top) == 3
"""
RELIABLE = """
import tailgrad
run = tailgrad.train("digits-lt", regime="quick", overrides={"train": {"epochs": 1}}, out="run")
found = tailgrad.reliability(run.folder)
assert found.conformal, found.no_sets
"""
SITE = "import mkdocs, material, mkdocstrings"
USES = {
    "tensorboard": [*TRAIN, "--logger", "tensorboard"],
    "mlflow": [*TRAIN, "--logger", "mlflow"],
    "wandb": [*TRAIN, "--logger", "wandb"],
    "huggingface": [str(EXAMPLES / "hugging_face_trainer.py"), "--steps", "40"],
    "torchjd": ["-c", AGGREGATE],
    "imblearn": ["-c", RESAMPLE],
    "onnx": ["-c", SHIP],
    "tables": [
        *["-m", "tailgrad", "compare", "breast-cancer-lt", "--regime", "table-ft", "--methods", "ce,smote"],
        *["--seeds", "1", "--set", "train.epochs=1", "--out", "study"],
    ],
    "conformal": ["-c", RELIABLE],
    "cluster": [
        *["-m", "tailgrad", "compare", *DIGITS, "--methods", "baseline,focal"],
        *["--seeds", "1", "--out", "study", "--engine", "ray"],
    ],
    "docs": ["-c", SITE],
}


def main(extra: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, *USES[extra]],
            cwd=folder,
            env={**os.environ, "WANDB_MODE": "offline"},
            check=True,
        )


if __name__ == "__main__":
    main(sys.argv[1])
