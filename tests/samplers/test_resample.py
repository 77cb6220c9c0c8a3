"""SMOTE's invariants, imbalanced-learn as the reference, and classes too small for it."""

import importlib
from typing import Any

import numpy as np
import pytest
import torch

from tailgrad.checks import InputError
from tailgrad.samplers import resample
from tailgrad.samplers.resample import METHODS

imblearn = pytest.importorskip("imblearn", reason="needs the extra imblearn")

random = np.random.default_rng(0)
Y = np.repeat([0, 1, 2], [60, 20, 9])
X = random.normal(size=(89, 3)) + np.eye(3)[Y] * 1.5
REFERENCE: dict[str, Any] = {
    "smote": imblearn.over_sampling.SMOTE(k_neighbors=4, random_state=1),
    "borderline_smote": imblearn.over_sampling.BorderlineSMOTE(k_neighbors=4, random_state=1),
    "svm_smote": imblearn.over_sampling.SVMSMOTE(k_neighbors=4, random_state=1),
    "adasyn": imblearn.over_sampling.ADASYN(n_neighbors=4, random_state=1),
    "smote_tomek": imblearn.combine.SMOTETomek(
        smote=imblearn.over_sampling.SMOTE(k_neighbors=4, random_state=1)
    ),
    "smote_enn": imblearn.combine.SMOTEENN(smote=imblearn.over_sampling.SMOTE(k_neighbors=4, random_state=1)),
    "random_over": imblearn.over_sampling.RandomOverSampler(random_state=1),
    "random_under": imblearn.under_sampling.RandomUnderSampler(random_state=1),
    "near_miss": imblearn.under_sampling.NearMiss(),
    "tomek_links": imblearn.under_sampling.TomekLinks(),
    "edited_nearest_neighbours": imblearn.under_sampling.EditedNearestNeighbours(),
}


def test_every_method_has_a_reference() -> None:
    assert set(METHODS) == set(REFERENCE)


@pytest.mark.parametrize("method", METHODS)
def test_where_classes_are_large_enough_it_is_imbalanced_learn(method: str) -> None:
    x, y = resample(X, Y, method, k_neighbors=4, seed=1)
    wanted_x, wanted_y = REFERENCE[method].fit_resample(X, Y)
    np.testing.assert_array_equal(y, wanted_y)
    np.testing.assert_allclose(x, wanted_x)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_new_examples_lie_between_neighbours_of_one_class(k: int) -> None:
    x, y = resample(X, Y, k_neighbors=k)
    assert np.bincount(y).tolist() == [60, 60, 60]
    np.testing.assert_array_equal(x[:89], X)
    for point, label in zip(x[89:], y[89:], strict=True):
        own = X[np.equal(Y, label)]
        near = np.linalg.norm(own[:, None] - own[None], axis=2).argsort(1)[:, 1 : k + 1]
        assert any(_on_segment(point, own[a], own[b]) for a in range(len(own)) for b in near[a])


def _on_segment(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> bool:
    u = (point - start) @ (end - start) / ((end - start) @ (end - start))
    return -1e-9 <= u <= 1 + 1e-9 and bool(np.allclose(start + u * (end - start), point))


def test_small_classes_use_the_neighbours_they_have_and_single_examples_are_copied() -> None:
    target = np.repeat([0, 1, 2, 3, 4], [30, 12, 3, 1, 2])
    features = random.normal(size=(48, 2))
    with pytest.warns(UserWarning, match="training examples") as notes:
        x, y = resample(features, target)
    words = sorted(str(note.message) for note in notes)
    wanted = [
        "classes [2], of 3 training examples, use 2 of 5 neighbours",
        "classes [3], of 1 training examples, are copied: there is no neighbour",
        "classes [4], of 2 training examples, use 1 of 5 neighbours",
    ]
    assert words == wanted
    assert all(note.filename == __file__ for note in notes)
    assert np.bincount(y).tolist() == [30] * 5
    assert (x[y == 3] == features[target == 3]).all()
    line = features[target == 4]
    assert all(_on_segment(point, *line) for point in x[y == 4])
    with pytest.warns(UserWarning, match="use 2 of 5"):
        some, labels = resample(features, target, sampling_strategy={2: 8})
    assert np.bincount(labels).tolist() == [30, 12, 8, 1, 2]
    np.testing.assert_array_equal(some[:48], features)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensors_come_back_as_they_went_in(dtype: torch.dtype) -> None:
    features = torch.tensor(X, dtype=dtype, requires_grad=True)
    x, y = resample(features, torch.tensor(Y, dtype=torch.int32))
    assert (x.dtype, y.dtype, x.requires_grad) == (dtype, torch.int32, False)
    arrays, labels = resample(features.detach().float().numpy(), Y)
    np.testing.assert_allclose(x.float(), arrays, rtol=2**-7 if dtype == torch.bfloat16 else 1e-6, atol=1e-6)
    assert y.tolist() == labels.tolist()
    assert resample(features, torch.tensor(Y), seed=1)[0].shape == x.shape


@pytest.mark.parametrize(
    ("features", "target", "options", "words"),
    [
        (X, Y, {"method": "smoot"}, "method must be a known name, got 'smoot'; did you mean 'smote'"),
        (X, Y, {"k_neighbors": 0}, "k_neighbors must be .* got 0"),
        (X[:5], Y, {}, r"features must be numbers \[89, D\].*\[5, 3\]"),
        (X[:, 0], Y, {}, r"features must be numbers .*\[89\]"),
        (np.where(np.equal(X, X[7, 1]), np.nan, X), Y, {}, "features must be finite, got nan in row 7"),
        (X, np.zeros(89, int), {}, "method must suit the data, got 'smote'.*more than 1 class"),
        (X, Y, {"sampling_strategy": {0: 5}}, "method must suit the data.*greater or equal"),
        (X + 99 * Y[:, None], Y, {"method": "adasyn"}, "'adasyn', which failed .*; choose another"),
        (X, Y - 1, {}, "target must be class indices from 0 on, got -1"),
    ],
)
def test_bad_input_is_one_clear_error(
    features: Any, target: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        resample(features, target, **options)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    module = importlib.import_module("tailgrad.samplers.resample")
    monkeypatch.setattr(module, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "tailgrad\[imblearn\]"'):
        resample(X, Y)
