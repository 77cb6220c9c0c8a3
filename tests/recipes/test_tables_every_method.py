"""Every named method on a table: trained and evaluated, or refused for a reason that is the method's own."""

from pathlib import Path
from typing import Any

import pytest

from tailgrad.checks import InputError
from tailgrad.data import Source
from tailgrad.data.generated_rows import open_generated_rows
from tailgrad.recipes import train
from tailgrad.recipes.compose import named, overlay

pytestmark = pytest.mark.slow
SMALL: dict[str, Any] = {
    "model": {"options": {"hidden": [8, 8, 8]}},
    "train": {"epochs": 1, "batch_size": 16, "threads": 1},
    "interference": {"max_per_class": 4, "folds": 2},
}
OF_IMAGES = ("mixing.name is for images", "auxiliary.views is for images")
OF_LABELS = "must take one class an image"
NO_PLACE = "share_until must be given for a backbone of few stages"


@pytest.fixture(scope="module")
def rows() -> Source:
    return open_generated_rows(rows=150, factor=9)


@pytest.mark.parametrize("method", sorted(named("methods")))
def test_every_method_trains_on_rows_or_says_why_not(method: str, rows: Source, tmp_path: Path) -> None:
    content = overlay("methods", method)
    stages = [{**stage, "epochs": 1} if "epochs" in stage else stage for stage in content.get("stages", [])]
    wanted = {**content, "name": method, "stages": stages}
    said = ""
    try:
        run = train(rows, method=wanted, regime="table", overrides=SMALL, out=tmp_path / "run", console=None)
    except InputError as error:
        said = str(error)
    if not said:
        assert run.result["status"] == "finished"
        assert 0 <= run.macro_f1 <= 1
        return
    assert any(words in said for words in (*OF_IMAGES, OF_LABELS, NO_PLACE)), said
    if any(words in said for words in OF_IMAGES):
        views = content.get("auxiliary", {}).get("views", 2) if "auxiliary" in content else 0
        assert views or any("mixing" in part for part in [content, *content.get("stages", [])])
