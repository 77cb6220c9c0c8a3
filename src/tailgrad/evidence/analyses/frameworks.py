"""One small network in four frameworks: what ``class_imbalance="auto"`` is worth, and whether they agree.

A hand-written loop, Lightning (``LightningClassifier``), the Hugging Face ``Trainer`` (``ImbalanceTrainer``)
and scikit-learn (``TailgradClassifier``) train ``D -> width -> K`` on the same vectors by AdamW at a constant
rate, with and without the knob; beside them estimators of scikit-learn with balanced class weights.

Figures are macro-F1 on test data, over seeds: ``NAME.KNOB``; ``NAME.gain``, with the knob less without;
``NAME.against_loop``, both with the knob; ``scikit_learn.over_NAME``, the knob less another estimator.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from tailgrad.data import Profile
from tailgrad.evidence.analyses.framework_training import (
    Settings,
    Trained,
    by_hugging_face,
    by_lightning,
    by_loop,
    by_scikit_learn,
)
from tailgrad.evidence.analyses.small_sets import SmallSet, small_set
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table

Cell = Mapping[str, float]
KNOBS = ("none", "auto")
FRAMEWORKS: dict[str, Trained] = {
    "loop": by_loop,
    "lightning": by_lightning,
    "hugging_face": by_hugging_face,
    "scikit_learn": by_scikit_learn,
}
OWN: dict[str, Callable[[int], ClassifierMixin]] = {
    "logistic_regression": lambda _: LogisticRegression(class_weight="balanced", max_iter=5000),
    "random_forest": lambda seed: RandomForestClassifier(300, class_weight="balanced", random_state=seed),
    "hist_gradient_boosting": lambda seed: HistGradientBoostingClassifier(
        class_weight="balanced", random_state=seed
    ),
}
"""Estimators of scikit-learn, by seed."""


def analyse(lab: Lab) -> Analysis:
    """See above. Settings: ``imb_factor``, ``epochs``, ``batch``, ``width``, ``side``, ``seeds``."""
    cells = {f"{name}.{knob}": partial(FRAMEWORKS[name], knob) for name in FRAMEWORKS for knob in KNOBS}
    cells |= {name: partial(_own, make) for name, make in OWN.items()}
    lab.expect(len(cells) * len(lab.seeds))
    found = {
        name: [lab.cell(f"{name}.seed-{seed}", partial(_scored, lab, train, seed)) for seed in lab.seeds]
        for name, train in cells.items()
    }
    figures = {name: _figure(runs) for name, runs in found.items()}
    for name in FRAMEWORKS:
        figures[f"{name}.gain"] = _figure(found[f"{name}.auto"], found[f"{name}.none"])
        if name != "loop":
            figures[f"{name}.against_loop"] = _figure(found[f"{name}.auto"], found["loop.auto"])
    figures |= {f"scikit_learn.over_{name}": _figure(found["scikit_learn.auto"], found[name]) for name in OWN}
    return Analysis(figures, [_table(figures)], list(lab.seeds))


def _figure(runs: Sequence[Cell], others: Sequence[Cell] | None = None) -> Figure:
    """Mean macro-F1, or how far it is above others'; test parts drawn by seed widen its interval."""
    below = [0.0] * len(runs) if others is None else [run["macro_f1"] for run in others]
    values = [run["macro_f1"] - base for run, base in zip(runs, below, strict=True)]
    wider = [run.get("extra_variance", 0.0) for run in runs]  # cells from before this was kept have none
    return Figure.over(values, extra_variance=float(np.mean(wider)))


def _scored(lab: Lab, train: Callable[[SmallSet, Settings, int], Any], seed: int) -> dict[str, float]:
    profile = Profile("exponential", lab.settings["imb_factor"])
    data = small_set(lab.data["images"], seed, profile=profile, side=int(lab.settings["side"]))
    found = np.asarray(train(data, dict(lab.settings), seed))
    score = float(f1_score(data.test.target.numpy(), found, average="macro", zero_division=0))
    return {"macro_f1": score, "extra_variance": data.extra_variance}


def _own(make: Callable[[int], Any], data: SmallSet, _: Settings, seed: int) -> Any:
    model = make(seed).fit(data.train.inputs.numpy(), data.train.target.numpy())
    return model.predict(data.test.inputs.numpy())


def _table(figures: dict[str, Figure]) -> Table:
    rows = [
        (name, *(str(figures[f"{name}.{part}"].mean) for part in (*KNOBS, "gain"))) for name in FRAMEWORKS
    ]
    rows += [(name, "", str(figures[name].mean), "") for name in OWN]
    return Table("Macro-F1", ("framework", "without", "with", "gain"), tuple(rows), "Means over seeds, 95 %.")
