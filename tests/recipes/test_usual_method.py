"""One rule for `tailgrad new` and class_imbalance="auto"."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tailgrad.data import audit, open_source
from tailgrad.integrations import choose_for
from tailgrad.recipes.chosen_settings import settings_for
from tailgrad.recipes.usual_method import usual_method


@pytest.mark.parametrize(("counts", "method"), [((14, 10), "ce"), ((15, 10), "balanced_softmax")])
def test_new_and_auto_choose_alike(counts: tuple[int, int], method: str, tmp_path: Path) -> None:
    name, why = usual_method(counts[0] / counts[1])
    assert name == method
    chosen = choose_for(counts, "auto")
    assert (chosen.loss is None) == (method == "ce")
    assert why in chosen.text
    _write(tmp_path, counts)
    found = audit(str(tmp_path), near=False)
    written = {setting.key: setting for setting in settings_for(found, open_source(str(tmp_path)), {})}
    assert written["method"].value == method
    assert why in written["method"].why


def _write(folder: Path, counts: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for name, count in zip("ab", counts, strict=True):
        (folder / name).mkdir()
        for index in range(count):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / name / f"{index}.png")
