"""TailgradClassifier against scikit-learn's own checks, in its tools, and against closed forms."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, make_blobs
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.estimator_checks import estimator_checks_generator
from torch import nn

import tailgrad
from tailgrad.checks import InputError
from tailgrad.integrations.scikit_learn import TailgradClassifier
from tailgrad.integrations.vector_parts import Asked, label_weights, make_parts
from tailgrad.optim.asymmetric_sam import VARIANTS

Data = tuple[NDArray[Any], NDArray[Any]]
TINY = {"hidden": (8,), "epochs": 2, "random_state": 0}


def tail(seed: int, counts: tuple[int, ...] = (120, 24, 6), spread: float = 1.0) -> Data:
    draw = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [0.0, 1.5, 0.0]])[: len(counts)]
    x = np.concatenate([draw.normal(c, spread, (n, 3)) for c, n in zip(centres, counts, strict=True)])
    return x, np.repeat(np.arange(len(counts)), counts)


# What check_estimator runs; a list, which parametrize_with_checks of scikit-learn 1.6 is not.
CHECKED = TailgradClassifier(hidden=(16,), epochs=10, learning_rate=0.02, random_state=0)
CHECKS = list(estimator_checks_generator(CHECKED))


@pytest.mark.parametrize(
    ("estimator", "check"), CHECKS, ids=lambda part: getattr(getattr(part, "func", None), "__name__", "")
)
def test_scikit_learns_own_checks(estimator: TailgradClassifier, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_it_is_found_at_the_top() -> None:
    assert tailgrad.TailgradClassifier is TailgradClassifier


# What it does with classes


@pytest.mark.parametrize(
    ("counts", "options", "loss", "left"),
    [
        ((30, 25, 25), {}, "cross_entropy", (30, 25, 25)),
        ((90, 30, 10), {}, "balanced_softmax", (1, 1, 1)),
        ((90, 30, 10), {"class_weight": "balanced"}, "cross_entropy", (1, 1, 1)),
        ((90, 30, 10), {"sampler": "class_balanced"}, "cross_entropy", (1, 1, 1)),
        ((90, 30, 10), {"sampler": "instance"}, "balanced_softmax", (1, 1, 1)),
        ((90, 30, 10), {"loss": "cross_entropy"}, "cross_entropy", (90, 30, 10)),
        ((90, 30, 10), {"class_weight": {2: 3.0}}, "cross_entropy", (90, 30, 30)),
        (
            (90, 30, 10),
            {"loss": "logit_adjusted", "loss_options": {"tau": 0.5}},
            "logit_adjusted",
            (90**0.5, 30**0.5, 10**0.5),
        ),
    ],
)
def test_the_prior_is_corrected_once_and_the_ledger_says_so(
    counts: tuple[int, ...], options: dict[str, Any], loss: str, left: tuple[float, ...]
) -> None:
    model = TailgradClassifier(**options, **TINY).fit(*tail(0, counts))
    assert model.loss_ == loss
    np.testing.assert_allclose(model.ledger_.prior, np.array(left) / sum(left), atol=1e-6)
    assert model.class_counts_.tolist() == list(counts)


def test_a_prior_corrected_twice_is_refused() -> None:
    model = TailgradClassifier("balanced_softmax", sampler="class_balanced", **TINY)
    with pytest.raises(InputError, match="the class prior must be corrected once, got loss balanced_softmax"):
        model.fit(*tail(0))
    both = TailgradClassifier(class_weight="balanced", sampler="class_balanced", **TINY)
    with pytest.raises(InputError, match="corrected once"):
        both.fit(*tail(0))
    allowed = clone(model).set_params(allow_double_correction=True).fit(*tail(0))
    assert allowed.ledger_.over_corrected


def test_balanced_weights_are_scikit_learns() -> None:
    x, y = tail(0)
    labels = np.array(["a", "b", "c"])
    expected = compute_class_weight("balanced", classes=labels, y=labels[y])
    np.testing.assert_allclose(label_weights("balanced", y, labels), expected)
    model = TailgradClassifier(class_weight="balanced", **TINY).fit(x, labels[y])
    np.testing.assert_allclose(model.ledger_.weights, expected, rtol=1e-5)
    named = compute_class_weight({"a": 1.0, "c": 4.0}, classes=labels, y=labels[y])
    np.testing.assert_allclose(label_weights({"a": 1.0, "c": 4.0}, y, labels), named)


def test_effective_weights_follow_the_effective_number() -> None:
    _, y = tail(0)
    beta, counts = 0.9999, np.bincount(y)
    raw = (1 - beta) / (1 - beta**counts)
    np.testing.assert_allclose(label_weights("effective", y, np.arange(3)), 3 * raw / raw.sum(), rtol=1e-6)


def test_a_fit_without_hidden_randomness_minimises_the_weighted_loss() -> None:
    """One linear layer behind frozen features: at the end the weighted gradient is 0."""
    x, y = tail(3, (40, 10))
    model = TailgradClassifier(
        class_weight="balanced", hidden=(16,), network_options={"dropout": 0.0}, epochs=400, batch_size=64,
        learning_rate=0.03, weight_decay=0.0, random_state=1,
    ).fit(x, y)  # fmt: skip
    probabilities, weights = model.predict_proba(x), np.array(label_weights("balanced", y, np.arange(2)))[y]
    # The bias of the last layer sees the weighted mean of p - y, which is 0 at a minimum.
    residual = (weights * (probabilities[:, 1] - y)).sum() / weights.sum()
    assert abs(residual) < 0.02
    assert model.loss_curve_[-1] < model.loss_curve_[0] / 4


def test_balanced_softmax_beats_cross_entropy_on_a_long_tail() -> None:
    """Mean balanced accuracy over seeds: three Gaussians, of which the rarest has 6 of 150 rows."""
    gains = []
    for seed in range(3):
        train, test = tail(seed), tail(100 + seed, (200, 200, 200))
        found = [
            balanced_accuracy_score(
                test[1],
                TailgradClassifier(loss, hidden=(16,), epochs=25, learning_rate=0.02, random_state=seed)
                .fit(*train)
                .predict(test[0]),
            )
            for loss in ("cross_entropy", "balanced_softmax")
        ]
        gains.append(found[1] - found[0])
    assert np.mean(gains) > 0.05
    assert min(gains) > 0


@pytest.mark.parametrize("labels", [("no", "yes"), (3, 7), (False, True), ("a", "b", "c")])
def test_labels_of_any_kind_come_back(labels: tuple[Any, ...]) -> None:
    x, y = tail(0, (20, 12, 12)[: len(labels)])
    model = TailgradClassifier(hidden=(8,), epochs=30, learning_rate=0.02, random_state=0).fit(
        x, np.array(labels)[y]
    )
    assert model.classes_.tolist() == sorted(labels)
    assert set(model.predict(x).tolist()) <= set(labels)
    assert model.score(x, np.array(labels)[y]) > 1.2 / len(labels)
    decision = model.decision_function(x)
    assert decision.shape == ((len(x),) if len(labels) == 2 else (len(x), len(labels)))
    probabilities = model.predict_proba(x)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    if len(labels) == 2:
        np.testing.assert_allclose(probabilities[:, 1], 1 / (1 + np.exp(-decision)))
    else:
        np.testing.assert_allclose(probabilities, torch.tensor(decision).softmax(1))


# In scikit-learn's tools


def test_it_works_in_a_pipeline_with_a_grid() -> None:
    x, y = tail(1, (40, 12, 6))
    pipeline = make_pipeline(StandardScaler(), TailgradClassifier(**TINY))
    grid = {
        "tailgradclassifier__loss": ["auto", "focal"],
        "tailgradclassifier__hidden": [(4,), (8, 4)],
    }
    search = GridSearchCV(
        pipeline, grid, cv=StratifiedKFold(2), scoring="balanced_accuracy", error_score="raise"
    ).fit(x, y)
    assert len(search.cv_results_["mean_test_score"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(x).shape == y.shape
    best = search.best_estimator_["tailgradclassifier"]
    assert best.module_.backbone.channels == best.hidden[-1]


def test_calibration_and_cross_validated_probabilities() -> None:
    x, y = tail(1, (40, 12, 8))
    model = TailgradClassifier(**TINY)
    calibrated = CalibratedClassifierCV(model, cv=2).fit(x, y)
    np.testing.assert_allclose(calibrated.predict_proba(x).sum(1), 1)
    found = cross_val_predict(model, x, y, cv=2, method="predict_proba")
    assert found.shape == (60, 3)


def test_categories_come_in_one_hot() -> None:
    table = pd.DataFrame({"colour": ["red", "blue", "red", "green"] * 10})
    y = (table["colour"] == "red").to_numpy()
    model = make_pipeline(
        OneHotEncoder(sparse_output=False),
        TailgradClassifier(hidden=(8,), epochs=30, learning_rate=0.05, random_state=0),
    ).fit(table, y)
    assert model.score(table, y) == 1


def test_imbalanced_learn_pipelines_take_it() -> None:
    pipeline = pytest.importorskip("imblearn.pipeline")
    smote = pytest.importorskip("imblearn.over_sampling").SMOTE
    x, y = tail(2, (60, 15, 8))
    model = pipeline.make_pipeline(smote(random_state=0, k_neighbors=3), TailgradClassifier(**TINY)).fit(x, y)
    inside = model["tailgradclassifier"]
    assert inside.class_counts_.tolist() == [60, 60, 60]
    assert inside.loss_ == "cross_entropy"  # balanced by then: nothing left to correct
    assert model.predict(x).shape == y.shape


def test_names_of_columns_are_kept_and_checked() -> None:
    table = load_iris(as_frame=True)
    model = TailgradClassifier(**TINY).fit(table.data, table.target)
    assert model.feature_names_in_.tolist() == list(table.data.columns)
    assert model.n_features_in_ == 4
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table.data[table.data.columns[::-1]])


# Randomness and state


def same(one: TailgradClassifier, other: TailgradClassifier, x: NDArray[Any]) -> bool:
    return bool(np.array_equal(one.predict_proba(x), other.predict_proba(x)))


def test_one_seed_is_one_fit_and_torch_draws_on_untouched() -> None:
    x, y = tail(4, (30, 10, 5))
    model = TailgradClassifier(early_stopping=True, temperature=True, **TINY)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - the generator that scikit-learn draws from without a seed
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first = clone(model).fit(x, y)
    first.interference(x, y, folds=2)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    torch.manual_seed(77)
    again, other = clone(model).fit(x, y), clone(model).set_params(random_state=1).fit(x, y)
    assert same(first, again, x)
    assert not same(first, other, x)
    drawn = [clone(model).set_params(random_state=np.random.RandomState(3)).fit(x, y) for _ in range(2)]
    assert same(*drawn, x)


def test_pickles_and_copies_predict_the_same() -> None:
    x, y = tail(4, (30, 10, 5))
    model = TailgradClassifier(temperature=True, **TINY).fit(x, y)
    loaded = pickle.loads(pickle.dumps(model))
    assert same(model, loaded, x)
    assert loaded.ledger_.prior.tolist() == model.ledger_.prior.tolist()
    assert not hasattr(clone(model), "module_")


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    x, y = tail(4, (30, 10, 5))
    model = TailgradClassifier(**TINY).fit(x, y)
    one_by_one = np.concatenate([model.predict_proba(row[None]) for row in x])
    np.testing.assert_allclose(model.predict_proba(x), one_by_one, rtol=1e-12)


def test_standardising_makes_scales_and_offsets_irrelevant() -> None:
    x, y = tail(4, (30, 10, 5))
    moved = x * np.array([1e3, 1e-3, 1.0]) + np.array([5.0, -1e3, 0.0])
    plain, other = (TailgradClassifier(**TINY).fit(data, y) for data in (x, moved))
    np.testing.assert_allclose(plain.predict_proba(x), other.predict_proba(moved), atol=1e-4)
    raw = TailgradClassifier(standardize=False, **TINY).fit(x, y)
    assert (raw.mean_.tolist(), raw.scale_.tolist()) == ([0.0] * 3, [1.0] * 3)
    constant = np.c_[x, np.full(len(x), 7.0)]
    assert np.isfinite(TailgradClassifier(**TINY).fit(constant, y).predict_proba(constant)).all()


def test_a_column_of_one_value_is_no_lever() -> None:
    """The deviation of equal numbers is rounding: divided by it, the next number would be 1e8 away."""
    x, y = tail(4, (30, 10, 5))
    flat = np.c_[x, np.full(len(x), 0.1)]
    assert flat[:, 3].std() > 0
    model = TailgradClassifier(**TINY).fit(flat, y)
    assert model.scale_[3] == 1
    moved = flat + np.array([0.0, 0.0, 0.0, 1e-3])
    np.testing.assert_allclose(model.predict_proba(moved), model.predict_proba(flat), atol=1e-2)
    tiny = np.c_[x, np.where(np.arange(len(x)) % 2, 0.0, 1e-300)]
    assert np.isfinite(TailgradClassifier(**TINY).fit(tiny, y).predict_proba(tiny)).all()


# Training


def test_early_stopping_keeps_the_best_epoch() -> None:
    x, y = tail(5, (60, 30, 20), spread=3.0)
    model = TailgradClassifier(
        hidden=(32,), epochs=60, learning_rate=0.03, early_stopping=True, patience=3, validation_fraction=0.3,
        random_state=0,
    ).fit(x, y)  # fmt: skip
    assert len(model.validation_curve_) == len(model.loss_curve_) == model.n_iter_
    assert model.best_epoch_ == int(np.argmin(model.validation_curve_)) + 1
    assert model.n_iter_ == model.best_epoch_ + 3 < 60
    stopped = TailgradClassifier(
        hidden=(32,), epochs=model.best_epoch_, learning_rate=0.03, early_stopping=True, patience=60,
        validation_fraction=0.3, random_state=0,
    ).fit(x, y)  # fmt: skip
    assert same(model, stopped, x)


def test_without_it_every_row_is_trained_on() -> None:
    model = TailgradClassifier(**TINY).fit(*tail(0))
    assert (model.validation_curve_, model.n_iter_, model.best_epoch_) == ([], 2, 2)
    held = TailgradClassifier(early_stopping=True, validation_fraction=0.25, **TINY)
    model = held.fit(*tail(0, (20, 8, 1)))
    # One row of four, and none of the class that has a single one.
    assert model.ledger_.class_counts == (15, 6, 1)


def test_the_temperature_divides_logits_and_fits_held_out_rows() -> None:
    x, y = tail(6, (80, 40, 40), spread=2.0)
    options = {
        "hidden": (64,),
        "epochs": 80,
        "learning_rate": 0.01,
        "random_state": 0,
        "loss": "cross_entropy",
    }
    model = TailgradClassifier(temperature=True, validation_fraction=0.4, **options).fit(x, y)
    assert model.temperature_ > 1.2  # trained to certainty on classes that overlap
    raw = model.module_(torch.from_numpy((x - model.mean_) / model.scale_)).detach().numpy()
    np.testing.assert_allclose(model.decision_function(x), raw / model.temperature_)
    assert np.array_equal(model.predict(x), model.classes_[raw.argmax(1)])
    assert TailgradClassifier(**TINY).fit(x, y).temperature_ == 1.0


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", *VARIANTS])
def test_every_optimizer_learns(optimizer: str) -> None:
    x, y = tail(7, (60, 15), spread=0.5)
    rate = 0.05 if optimizer == "sgd" else 0.01
    model = TailgradClassifier(
        "cross_entropy", hidden=(8,), epochs=8, learning_rate=rate, optimizer=optimizer, random_state=0
    ).fit(x, y)
    assert model.loss_curve_[-1] < 0.7 * model.loss_curve_[0]


@pytest.mark.parametrize("name", ["ldam", "focal", "gala", "seesaw", "soft_f1", "vs", "equalization"])
def test_losses_of_every_kind_train(name: str) -> None:
    model = TailgradClassifier(name, **TINY).fit(*tail(0))
    assert np.isfinite(model.loss_curve_).all()
    assert type(model.module_.head).__name__ == ("Cosine" if name == "ldam" else "Linear")


@pytest.mark.parametrize("network", ["table_resnet", "ft_transformer"])
def test_networks_of_the_library_train(network: str) -> None:
    pytest.importorskip("rtdl_revisiting_models")
    options = {"network": network, "network_options": {"width": 16, "blocks": 1}, "epochs": 2}
    x, y = tail(0, (30, 14, 5))  # 49 rows: the last batch of 8 would hold a single one
    model = TailgradClassifier(head="csba", batch_size=8, random_state=0, **options).fit(x, y)
    assert model.predict_proba(x).shape == (49, 3)
    assert len(model.module_.head.branches) == 3


def test_interference_is_that_of_the_fitted_network() -> None:
    x, y = tail(8, (40, 20, 12))
    names = np.array(["a", "b", "c"])
    model = TailgradClassifier(hidden=(8,), epochs=5, random_state=0).fit(x, names[y])
    result = model.interference(x, names[y], folds=2)
    assert tuple(result.class_names) == ("a", "b", "c")
    vectors = torch.from_numpy((x - model.mean_) / model.scale_)
    kept, grads = list(model.module_.backbone.parameters()), []
    for label in range(3):
        rows = torch.from_numpy(y == label)
        loss = nn.functional.cross_entropy(model.module_(vectors[rows]), torch.from_numpy(y)[rows])
        grads.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, kept)]))
    unit = torch.stack([g / g.norm() for g in grads])
    np.testing.assert_allclose(result.conflict, unit @ unit.T, atol=1e-5)
    with pytest.raises(InputError, match="labels that were fitted on, got z"):
        model.interference(x[:1], ["z"])


def test_verbose_prints_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    TailgradClassifier(verbose=True, early_stopping=True, **TINY).fit(*tail(0))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2"]
    assert all("held-out loss" in line for line in lines)
    TailgradClassifier(**TINY).fit(*tail(0))
    assert not capsys.readouterr().out


def test_a_deferred_weight_begins_at_its_share_of_the_epochs() -> None:
    asked = Asked("cross_entropy", {"defer": 0.5, "weights": "effective"})
    _, y = tail(0)
    parts = make_parts(asked, y, np.arange(3), filled={"epochs": 10}, seed=0)
    assert parts.loss.weighting.defer == 5


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "focl"}, "loss must be a known name, got 'focl'; did you mean 'focal'"),
        ({"loss": "sup_con"}, "loss must be a known name, got 'sup_con'"),
        ({"loss": "binary_cross_entropy"}, "loss must be a known name"),
        ({"loss": "focal", "loss_options": {"gama": 1}}, "gama is not an option of focal; did you mean"),
        ({"loss_options": {"gamma": 1}}, "loss_options must go with a named loss"),
        ({"sampler": "class_balancd"}, "did you mean 'class_balanced'"),
        ({"class_weight": "balancd"}, "class_weight must be a known name, got 'balancd'"),
        ({"class_weight": {7: 2.0}}, "class_weight must name the classes"),
        ({"class_weight": {0: 0.0}}, "class_weight must be positive, got 0.0 for 0"),
        ({"class_weight": "balanced", "loss": "balanced_softmax"}, "a loss that takes weights"),
        (
            {"class_weight": "balanced", "loss": "focal", "loss_options": {"weights": "inverse"}},
            "class_weight must be None where loss_options has weights",
        ),
        ({"network": "mpl"}, "network must be a known name, got 'mpl'"),
        ({"network": "tripath"}, "network must be a known name"),
        ({"network": "ft_transformer", "hidden": (8,)}, "hidden must be None for 'ft_transformer'"),
        ({"network_options": {"dropot": 0.1}}, "did you mean 'dropout'"),
        ({"hidden": (0,)}, r"hidden\[0\] must be in"),
        ({"head": "csab"}, "did you mean 'csba'"),
        ({"optimizer": "adam"}, "optimizer must be a known name, got 'adam'"),
        ({"optimizer": "sam", "rho": -1.0}, "rho must be in"),
        ({"optimizer": "sam", "loss": "soft_f1"}, "reduction must be 'mean' or 'sum'"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"epochs": 2.5}, "epochs must be a whole number"),
        ({"batch_size": 1}, "batch_size must be a whole number of at least 2"),
        ({"patience": 0}, "patience must be a whole number of at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be in"),
        ({"learning_rate": "fast"}, "learning_rate must be a number"),
        ({"weight_decay": -0.1}, "weight_decay must be in"),
        ({"validation_fraction": 1.0}, "validation_fraction must be in"),
        ({"device": "gpu"}, "device must be one that PyTorch has here, got 'gpu'"),
    ],
)
def test_bad_arguments_are_named_when_fitting(options: dict[str, Any], message: str) -> None:
    model = TailgradClassifier(**{**TINY, "hidden": None, **options})
    with pytest.raises(InputError, match=message):
        model.fit(*tail(0))


def test_rows_that_cannot_be_learnt_from_are_refused() -> None:
    x, y = tail(0, (10, 5))
    for bad in (np.nan, np.inf):
        broken = x.copy()
        broken[3, 1] = bad
        with pytest.raises(ValueError, match="contains"):
            TailgradClassifier(**TINY).fit(broken, y)
    with pytest.raises(InputError, match="two classes or more, got 1 class"):
        TailgradClassifier(**TINY).fit(x, np.zeros(15))
    with pytest.raises(ValueError, match="Unknown label type"):
        TailgradClassifier(**TINY).fit(x, np.linspace(0, 1, 15))
    with pytest.raises(InputError, match="must leave rows to hold out"):
        TailgradClassifier(early_stopping=True, **TINY).fit(x[[0, 12]], y[[0, 12]])
    with pytest.raises(TypeError, match="sample_weight"):
        TailgradClassifier(**TINY).fit(x, y, sample_weight=np.ones(15))


def test_a_loss_that_runs_away_is_told() -> None:
    x, y = make_blobs(40, centers=2, random_state=0)
    model = TailgradClassifier(optimizer="sgd", learning_rate=1e30, standardize=False, **TINY)
    with pytest.raises(InputError, match="learning_rate must keep the loss finite"):
        model.fit(1e6 * x, y)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden": 8}, r"hidden must hold widths, got 8; write \(64,\)"),
        ({"hidden": "ab"}, "hidden must hold widths, got 'ab'"),
        ({"network_options": [("dropout", 0.1)]}, r"network_options must be a mapping or None, got \[\("),
        ({"loss": "focal", "loss_options": "gamma"}, "loss_options must be a mapping or None, got 'gamma'"),
        (
            {"loss": "focal", "loss_options": {"reduction": "none"}},
            "loss_options must leave one number a batch, got reduction='none'",
        ),
    ],
)
def test_options_of_another_kind_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        TailgradClassifier(**{**TINY, **options}).fit(*tail(0))


def test_widths_may_come_as_an_array() -> None:
    widths = np.array([8, 4])
    model = TailgradClassifier(hidden=widths, epochs=1, random_state=0).fit(*tail(0))
    assert model.module_.backbone.channels == 4
