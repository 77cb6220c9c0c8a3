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


def recall_of_the_rarest(said: str) -> list[float]:
    found = re.findall(r"(?:rarest|rare_recall) (\d\.\d+)", said)
    assert found, said
    return [float(n) for n in found]


def recall_by_class(said: str) -> list[float]:
    found = re.search(r"recall by class ([\d. ]+)", said)
    assert found, said
    return [float(n) for n in found[1].split()]


def test_timm_models_in_two_lines() -> None:
    plain, *corrected = recall_of_the_rarest(run("timm_model.py", "--epochs", "8"))
    assert len(corrected) == 2
    assert min(corrected) > plain
    assert min(corrected) > 0.3


def test_a_lightning_module_with_one_knob() -> None:
    said = run("lightning_classifier.py", "--epochs", "6")
    assert "(128 of 0 to 6 of 9): the loss is balanced_softmax" in said
    found = re.search(r"balanced_accuracy (\d\.\d+)", said)
    assert found, said
    assert sum(recall_by_class(said)) / 10 == pytest.approx(float(found[1]), abs=0.01)
    assert float(found[1]) > 0.5


def test_a_script_like_torchvisions_with_three_lines_changed() -> None:
    said = run("torchvision_style.py")
    assert sum(recall_by_class(said)[-3:]) / 3 > 0.2
    text = (FOLDER / "torchvision_style.py").read_text(encoding="utf-8")
    assert re.findall(r"# changed: (\d)", text) == ["1", "2", "3"]
    changed = [line for line in text.splitlines() if "# changed:" in line]
    rest = "\n".join(line for line in text.splitlines() if line not in changed)
    assert "BalancedSoftmaxLoss" not in rest


@pytest.mark.skipif(
    not (find_spec("transformers") and find_spec("accelerate")), reason="needs the extra huggingface"
)
def test_the_trainer_with_one_knob() -> None:
    said = run("hugging_face_imbalance.py", "--epochs", "8")
    assert "(128 of 0 to 6 of 9): the loss is balanced_softmax" in said
    assert min(recall_of_the_rarest(said)) > 0.5


@pytest.mark.skipif(not find_spec("accelerate"), reason="needs the extra huggingface")
def test_a_loop_under_accelerate() -> None:
    said = run("accelerate_loop.py")
    assert said.startswith("the class prior is corrected")
    drawn = [int(n) for n in said[said.rindex("[") + 1 : said.rindex("]")].split(",")]
    assert sum(drawn) == 15 * 444
    assert drawn[0] / drawn[-1] == pytest.approx((128 / 6) ** 0.5, rel=0.25)
    assert min(recall_of_the_rarest(said)) > 0.3


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
