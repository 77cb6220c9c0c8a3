"""Every example runs from a terminal, trains, and says what it found."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tailgrad.interference import Interference

FOLDER = Path(__file__).resolve().parents[1] / "examples"
ENVIRONMENT = {
    **os.environ,
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}


def run(name: str, *options: str) -> str:
    """What an example prints; it must succeed."""
    found = subprocess.run(
        [sys.executable, str(FOLDER / name), *options],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        timeout=120,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    return found.stdout


def accuracy(said: str) -> float:
    found = re.search(r"accuracy (\d\.\d+)", said)
    assert found, said
    return float(found[1])


def test_a_plain_loop() -> None:
    said = run("plain_loop.py", "--epochs", "8", "--every", "10")
    assert accuracy(said) > 0.5  # a tenth is chance
    assert re.search(r"\b[56] measurements in steps 1 to", said), said
    assert "alarm, not a test" in said


def test_lightning() -> None:
    said = run("lightning_callback.py", "--epochs", "8", "--every", "10")
    assert accuracy(said) > 0.4
    assert re.search(r"\b[56] measurements in steps 1 to", said), said
    assert "compared over 500 examples" in said


@pytest.mark.skipif(
    not (find_spec("transformers") and find_spec("accelerate")), reason="needs the extra huggingface"
)
def test_the_hugging_face_trainer() -> None:
    said = run("hugging_face_trainer.py", "--steps", "30", "--every", "10")
    assert re.search(r"\b3 measurements in steps 1 to 21", said), said
    assert "interference/norm/9" in said
    assert accuracy(said) > 0.1


def test_any_model(tmp_path: Path) -> None:
    said = run(
        "diagnose_any_model.py", "--name", "test_resnet", "--epochs", "1", "--out", str(tmp_path / "found")
    )
    for name in ("plain", "test_resnet"):
        result = Interference.load(tmp_path / "found" / name)
        assert result.counts.tolist() == [50] * 10
        assert repr(result) in said
        assert result.summary() in said


def test_asymmetric_sam_in_a_plain_loop() -> None:
    assert accuracy(run("asymmetric_sam_loop.py")) > 0.8


def test_gala_in_a_plain_loop() -> None:
    said = run("gala_loop.py")
    assert accuracy(said) > 0.8
    shares = [float(n) for n in said[said.index("[") + 1 : said.index("]")].split(",")]
    assert sum(shares) == pytest.approx(1, abs=0.05)
    assert shares[0] > 3 * shares[-1], "the common classes gather more of the gradient"


def test_a_balanced_sampler_on_two_processes() -> None:
    said = run("balanced_sampler_two_processes.py")
    drawn = [int(n) for n in said[said.rindex("[") + 1 : said.rindex("]")].split(",")]
    assert sum(drawn) == 5 * 444  # five epochs, no place on both ranks
    assert all(abs(n - 222) < 6 * 222**0.5 for n in drawn)  # natural would be from 30 to 640


def test_the_folder_lists_its_examples() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    scripts = {path.name for path in FOLDER.glob("*.py")}
    assert set(re.findall(r"`(\w+\.py)`", page)) == scripts
    for name in scripts - {"digits.py"}:
        assert f"test_{name}" in page or name in Path(__file__).read_text(encoding="utf-8")
