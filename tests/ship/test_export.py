"""Artefacts against the run they come from: the network, its probabilities, its prior, what is refused."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from tailgrad.checks import InputError
from tailgrad.files import write_json
from tailgrad.posthoc import LogitAdjustment
from tailgrad.recipes import RunFolder
from tailgrad.recipes import predict as predict_by_run
from tailgrad.recipes.restore import restore
from tailgrad.ship import Artefact, Exported, export, predict
from tailgrad.ship import export as export_function
from tailgrad.ship.agreement import agreement
from tailgrad.ship.calibration import calibrate, fitted_temperature
from tailgrad.ship.convert import WithProbabilities, converted
from tailgrad.ship.deployed import Deployed
from tailgrad.ship.seal import description_of, sealed

PIXELS = np.random.default_rng(1).integers(0, 256, (5, 3, 32, 32), np.uint8)


def by_torch(run: Path, pixels: np.ndarray) -> np.ndarray:
    network = restore(run)
    with torch.no_grad():
        found: np.ndarray = network.model(network.normalize(torch.from_numpy(pixels))).double().numpy()
    return found


def test_logits_are_those_of_the_network_for_any_number_of_images(run: Path, artefact: Path) -> None:
    wanted = by_torch(run, PIXELS)
    shipped = Artefact(artefact)
    for count in (0, 1, 2, 5):
        np.testing.assert_allclose(shipped.logits(PIXELS[:count]), wanted[:count], atol=1e-4)
    assert shipped.description.check["difference"] <= 1e-4
    assert shipped.description.check["source"] == "test images of the run"
    assert shipped.description.head == {"name": "CSBA", "form": "GatedSum", "fused": True}


def test_any_onnx_runtime_gets_probabilities_from_pixels(run: Path, artefact: Path) -> None:
    session = onnxruntime.InferenceSession(str(artefact), providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"images": PIXELS})
    wanted = torch.from_numpy(by_torch(run, PIXELS)).softmax(1).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_description_says_what_the_run_says(run: Path, exported: Exported) -> None:
    about, result = exported.description, RunFolder(run).result()
    assert about.names == tuple(result["classes"]["names"])
    assert about.counts == tuple(result["classes"]["counts"])
    assert about.prior == tuple(result["prior"]["prior"])
    assert [row["f1"]["low"] for row in about.per_class] == [
        row["f1"]["low"] for row in result["test"]["classes"]
    ]
    assert about.headline["macro_f1"]["value"] == result["test"]["macro_f1"]["value"]
    assert any("excess" in line for line in about.conflict)
    assert any("Fewer than 30 test images" in line for line in about.limits)
    assert about.provenance["method"] == "csba"
    assert exported.bytes == exported.file.stat().st_size


def test_the_same_run_gives_the_same_file(run: Path, artefact: Path, tmp_path: Path) -> None:
    said: list[str] = []
    export(run, tmp_path / "again.onnx", say=said.append)
    assert [one.split(":")[0].split(" to ")[0] for one in said] == [
        "the run is not calibrated",
        "ONNX Runtime agrees with PyTorch",
    ]
    assert (tmp_path / "again.onnx").read_bytes() == artefact.read_bytes()


def test_calibrated_logits_are_re_targeted_without_a_warning(run: Path, tmp_path: Path) -> None:
    said: list[str] = []
    export(run, tmp_path / "there.onnx", calibrate=True, target_prior="uniform", say=said.append)
    assert not [one for one in said if one.startswith("warning")]


def test_an_artefact_predicts_as_its_run_does(run: Path, photos: Path, artefact: Path) -> None:
    wanted, found = predict_by_run(run, [photos]), predict(artefact, [photos])
    assert [one.name for one in found] == [one.name for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_the_target_prior_moves_probabilities_by_bayes_rule(
    run: Path, photos: Path, artefact: Path, tmp_path: Path
) -> None:
    target = {"round": 0.1, "square": 0.2, "thin": 0.7}
    said: list[str] = []
    made = export(run, tmp_path / "there.onnx", target_prior=target, say=said.append)
    assert any("re-targeted on logits that are not calibrated" in one for one in said)
    assert any("ledger: the class prior was corrected already by loss cross_entropy" in one for one in said)
    prior = np.array(RunFolder(run).result()["prior"]["prior"])
    plain = np.array([one.probabilities for one in predict(artefact, [photos])])
    wanted = plain / prior * np.array(list(target.values()))
    wanted /= wanted.sum(1, keepdims=True)
    stored = predict(made.file, [photos])
    for found in (
        stored,
        predict(artefact, [photos], target_prior=target),
        predict(run, [photos], target_prior=target),
    ):
        np.testing.assert_allclose([one.probabilities for one in found], wanted, atol=1e-5)
        assert [one.name for one in found] == [list(target)[k] for k in wanted.argmax(1)]
    session = onnxruntime.InferenceSession(str(made.file), providers=["CPUExecutionProvider"])
    network = Artefact(artefact)
    (inside,) = session.run(["probabilities"], {"images": PIXELS})
    logits = network.logits(PIXELS)
    np.testing.assert_allclose(inside, network.probabilities(logits, list(target.values())), atol=1e-5)
    back = predict(made.file, [photos], target_prior=prior.tolist())
    np.testing.assert_allclose([one.probabilities for one in back], plain, atol=1e-5)


def test_a_run_without_calibration_says_so_or_is_calibrated(
    run: Path, exported: Exported, tmp_path: Path
) -> None:
    about = exported.description
    assert any("not calibrated" in one for one in about.limits)
    assert (about.temperature, about.calibration) == (1.0, "none")
    warm = export(run, tmp_path / "b.onnx", calibrate=True).description
    result = RunFolder(run).result()
    wanted = calibrate(RunFolder(run), result["prior"]["prior"], result["classes"]["counts"])
    assert warm.temperature == wanted.temperature != 1.0
    logits = Artefact(tmp_path / "b.onnx").logits(PIXELS)
    scaled = Artefact(tmp_path / "b.onnx").probabilities(logits)
    shares = np.exp(logits / warm.temperature)
    np.testing.assert_allclose(scaled, shares / shares.sum(1, keepdims=True))


def test_a_temperature_is_found_again() -> None:
    random = np.random.default_rng(0)
    logits = 2 * random.normal(size=(4000, 3))
    prior, counts = np.array([0.2, 0.3, 0.5]), [60, 30, 10]
    shift = np.log(np.array(counts) / 100) - np.log(prior)
    p = np.exp(logits / 2.5 + shift)
    p /= p.sum(1, keepdims=True)
    target = [int(random.choice(3, p=row)) for row in p]
    assert fitted_temperature(logits, target, prior.tolist(), counts) == pytest.approx(2.5, rel=0.1)
    plain = fitted_temperature(logits, target, None, counts)
    assert abs(plain - 2.5) > 0.4, "without the shift the temperature makes up for the prior"


def test_posthoc_methods_are_inside_the_graph(run: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    network = restore(run)
    network = replace(network, posthoc=type(network.posthoc)([LogitAdjustment([90, 9, 1])]))
    deployed = WithProbabilities(Deployed(network), 1.0, None)
    _, model = next(converted(deployed, {"images": PIXELS}))
    assert agreement(model, network, {"images": PIXELS}).fine
    assert not agreement(model, restore(run), {"images": PIXELS}).fine, "the comparison sees a shifted logit"


def test_the_focus_decides_as_in_the_run(photos: Path, altered: Callable[..., Path], run: Path) -> None:
    names = ("round", "square", "thin")
    plain = [one.probabilities[2] for one in predict(run, [photos])]
    folder = altered(focus={"class": "thin", "threshold": float(np.median(plain))})
    made = export(folder, folder / "m.onnx", calibrate=True)
    found = predict(made.file, [photos])
    assert {one.name == "thin" for one in found} == {True, False}
    assert [one.name for one in found] == [one.name for one in predict(folder, [photos])]
    shifted = predict(made.file, [photos], target_prior="uniform")
    assert [names[int(np.argmax(one.probabilities))] for one in shifted] == [one.name for one in shifted]


def test_without_its_data_a_run_is_compared_on_random_images(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "gone"))
    text = (copy / "config.yaml").read_text()
    source = RunFolder(copy).config().source
    (copy / "config.yaml").write_text(text.replace(source, str(tmp_path / "nowhere")))
    said: list[str] = []
    made = export(copy, say=said.append)
    assert made.file == copy / "model.onnx"
    assert made.description.check["source"] == "random images"
    with pytest.raises(InputError, match=r"images of the run must be at hand, got .*nowhere"):
        export(copy, int8=True)


def test_int8_shows_what_it_costs_each_class(run: Path, photos: Path, tmp_path: Path) -> None:
    made = export(run, tmp_path / "small.onnx", int8=True)
    cost = made.description.int8
    assert made.description.precision == "int8"
    assert cost["bytes_int8"] < 0.6 * cost["bytes_float32"]
    assert [row["name"] for row in cost["classes"]] == ["round", "square", "thin"]
    table = pq.read_table(run / "predictions.parquet").to_pylist()
    test = [row for row in table if row["part"] == "test"]
    for k, row in enumerate(cost["classes"]):
        own = [one for one in test if one["target"] == k]
        assert row["support"] == len(own)
        assert row["before"]["value"] == pytest.approx(np.mean([one["predicted"] == k for one in own]))
        assert row["before"]["low"] <= row["before"]["value"] <= row["before"]["high"]
    assert cost["changed"] == sum(row["changed"] for row in cost["classes"])
    whole = [one.probabilities for one in predict_by_run(run, [photos])]
    small = [one.probabilities for one in predict(made.file, [photos])]
    assert np.abs(np.array(whole) - small).mean() < 0.1


class _Impossible(nn.Module):
    def forward(self, images: Any) -> Any:
        logits = torch.linalg.eig(images.float()[:, 0])[0].real
        return logits, logits


@pytest.mark.slow
def test_a_network_that_onnx_cannot_express_is_refused() -> None:
    with pytest.raises(InputError, match=r"one that ONNX can express, got none .* choose another backbone"):
        list(converted(_Impossible(), {"images": PIXELS}))


def test_outputs_that_differ_are_refused_with_the_difference(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(network: Any, images: Any) -> Any:
        yield next(converted(WithProbabilities(_Off(network.network), 1.0, None), images))

    monkeypatch.setitem(export_function.__globals__, "converted", wrong)
    with pytest.raises(
        InputError, match=r"must agree with PyTorch to 0\.0001, got differences of 0\.0\d+ on"
    ):
        export(run, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


class _Off(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Any) -> Any:
        return self.network(images) + 0.01


def test_what_cannot_be_exported_is_named(
    run: Path, artefact: Path, altered: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="file must be new"):
        export(run, artefact)
    with pytest.raises(InputError, match="must sum to 1"):
        export(run, tmp_path / "m.onnx", target_prior=[0.1, 0.1, 0.1])
    with pytest.raises(InputError, match="abstain must be in"):
        export(run, tmp_path / "m.onnx", abstain=3)
    with pytest.raises(InputError, match="must start from a known prior"):
        export(altered(prior=None), tmp_path / "m.onnx", target_prior="uniform")
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run, unfinished)
    (unfinished / "result.json").unlink()
    with pytest.raises(InputError, match="must be finished"):
        export(unfinished)
    write_json(unfinished / "result.json", {"status": "finished", "classes": 3})
    with pytest.raises(InputError, match="must hold what tailgrad writes"):
        export(unfinished)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"onnx must be installed to export.*'tailgrad\[onnx\]'"):
        export(run, tmp_path / "m.onnx")


def test_calibration_needs_the_validation_logits(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    (copy / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="calibration must have the validation logits"):
        export(copy, tmp_path / "m.onnx", calibrate=True)


def test_an_altered_artefact_is_refused(artefact: Path, tmp_path: Path, photos: Path) -> None:
    data = bytearray(artefact.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(InputError, match="altered or damaged"):
        predict(tmp_path / "m.onnx", [photos / "thin"])


def test_an_artefact_of_a_later_version_is_refused(artefact: Path, tmp_path: Path, photos: Path) -> None:
    data = artefact.read_bytes()
    about = json.loads(description_of(data, "m"))
    (tmp_path / "m.onnx").write_bytes(sealed(b"", json.dumps(about | {"format": 2, "tailgrad": "7.0"})))
    with pytest.raises(InputError, match=r"of format 2; install the tailgrad that wrote it \(7\.0\)"):
        predict(tmp_path / "m.onnx", [photos / "thin"])


@pytest.mark.parametrize("graph", [b"", b"\x08\x08", b"\x3a\x00\x08\x08"])
def test_a_graph_that_onnx_runtime_refuses_is_named(artefact: Path, tmp_path: Path, graph: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(sealed(graph, description_of(artefact.read_bytes(), "m")))
    with pytest.raises(InputError, match=r"ONNX Runtime .* takes, got"):
        Artefact(tmp_path / "m.onnx")


def test_pixels_of_another_shape_are_refused(artefact: Path) -> None:
    shipped = Artefact(artefact)
    for wrong in (PIXELS[:, :, :16], PIXELS.astype(np.float32), PIXELS[0]):
        with pytest.raises(InputError, match=r"must be uint8 \[N, 3, 32, 32\]"):
            shipped.logits(wrong)


def test_predicting_from_an_artefact_loads_no_pytorch(artefact: Path, photos: Path, tmp_path: Path) -> None:
    words = ["predict", str(artefact), str(photos / "thin"), "--csv", str(tmp_path / "p.csv")]
    code = (
        f"import sys\nsys.argv = ['tailgrad', *{words!r}]\nfrom tailgrad.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "for name in ('torch', 'torchvision', 'scipy', 'onnx', 'pyarrow', 'timm', 'sklearn', 'lightning'):\n"
        "    assert name not in sys.modules, name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 9
