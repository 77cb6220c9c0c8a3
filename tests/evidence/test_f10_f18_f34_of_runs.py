"""What analyses of finished runs compute, on figures and features made for the purpose."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tailgrad.data import load_images, open_source
from tailgrad.evidence import Lab, read_study
from tailgrad.evidence.analyses import threshold_gains
from tailgrad.evidence.analyses.choice_by_validation import choice_table, choose
from tailgrad.evidence.analyses.conflict_geometry import _trained_figures, _trained_table, criteria, moved
from tailgrad.evidence.analyses.linear_probe import balanced_index, probe
from tailgrad.evidence.analyses.small_training import balanced_losses, small_network
from tailgrad.evidence.analyses.threshold_gains import explained
from tailgrad.files import write_json
from tailgrad.interference import measure

COUNTS = (30, 12, 6)


def _planted(seed: int, n: int, signal: float) -> tuple[np.ndarray, np.ndarray]:
    """Classes at three corners of a plane, in ten noisy dimensions and on scales that differ."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    corners = signal * np.array([[1.0, 0], [-0.5, 0.87], [-0.5, -0.87]])
    features = rng.normal(size=(n, 10))
    features[:, :2] += corners[labels]
    return features * np.geomspace(0.01, 100, 10), labels


def test_a_probe_finds_a_planted_representation_and_nothing_where_there_is_none() -> None:
    (train, labels), (test, wanted) = _planted(0, 300, 6.0), _planted(1, 300, 6.0)
    assert (probe(train, labels, test) == wanted).mean() > 0.97
    (train, labels), (test, wanted) = _planted(2, 300, 0.0), _planted(3, 300, 0.0)
    assert (probe(train, labels, test) == wanted).mean() < 0.45


def test_a_dead_feature_does_not_stop_a_probe() -> None:
    train, labels = _planted(0, 90, 6.0)
    train[:, 9] = 5.0
    assert (probe(train, labels, train) == labels).mean() > 0.9


def test_what_the_probe_spares_is_a_check_since_pixels_do_as_well() -> None:
    """A probe of as many balanced images needs no network: the classifier is sure to lose more."""
    source = open_source("digits-lt")
    given = np.array(source.given)
    train, test = (np.flatnonzero(given == part) for part in ("train", "test"))
    train = train[balanced_index(source.labels[train], seed=0)]
    pixels = [
        load_images(source, index, (8, 8)).float().mean(1).flatten(1).double().numpy()
        for index in (train, test)
    ]
    right = probe(pixels[0], source.labels[train], pixels[1]) == source.labels[test]
    assert right.mean() > 0.94, "as on the features of if50"
    claims = {claim.id: claim for claim in read_study("f34-imbalanced-features").claims}
    assert claims["classifier-loses-more"].kind == "check"


def test_probes_are_balanced_by_the_rarest_class() -> None:
    labels = np.repeat([0, 1, 2], [9, 4, 6])
    index = balanced_index(labels, seed=0)
    assert np.bincount(labels[index]).tolist() == [4, 4, 4]
    assert len(set(index.tolist())) == 12
    assert (
        index.tolist() == balanced_index(labels, seed=0).tolist() != balanced_index(labels, seed=1).tolist()
    )


def test_class_weights_leave_conflict_and_focal_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    inputs = torch.randn(len(target), 6, generator=generator) + 2 * torch.eye(6)[target]
    net = small_network(6, 3, width=16, seed=0)
    # Some confidence, so that examples of a class differ in what focal loss makes of them.
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    for _ in range(20):
        optimizer.zero_grad()
        balanced_losses(COUNTS)(net(inputs), target).mean().backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()
    found = {
        name: measure(net, [(inputs, target)], "all", criterion=criterion, folds=0).conflict
        for name, criterion in {"plain": None, **criteria(COUNTS)}.items()
    }
    assert moved(found["class weights"], found["plain"]) < 1e-5
    assert moved(found["focal"], found["plain"]) > 1e-3


def _excesses(number: int, shift: float = 0.0) -> list[np.ndarray]:
    """Excess conflict of three classes, one matrix a seed, all entries moved by as much."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=(3, 3)) + shift for _ in range(number)]


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_method_that_changes_nothing_moves_as_much_as_another_seed(seeds: int) -> None:
    """The same seeds of the same method: a run is nearer to its own twin than to another seed's."""
    trained = {"baseline": _excesses(seeds), "twin": _excesses(seeds), "far": _excesses(seeds, 100.0)}
    figures = _trained_figures(trained, "baseline")
    assert figures["moved.twin"].values == pytest.approx([0.0] * seeds)
    pairs = ~np.eye(3, dtype=bool)
    usual = trained["baseline"]
    for s, found in enumerate(figures["moved.far"].values):
        there = usual[(s + 1) % seeds]
        wanted = np.abs(usual[s] + 100 - there)[pairs].mean() - np.abs(usual[s] - there)[pairs].mean()
        assert found == pytest.approx(wanted)
    assert figures["excess.far"].values == pytest.approx([100.0] * seeds)
    distances = {row[0]: row[-1] for row in _trained_table(trained, "baseline").rows}
    assert distances["twin"] == distances["baseline"] != "0.000"


def test_csba_is_held_against_a_control_by_how_far_it_moves() -> None:
    far = {"csba": _excesses(3, 100.0), "wider_head": _excesses(3, 40.0)}
    figures = _trained_figures({"baseline": _excesses(3)} | far, "baseline")
    over = figures["moved_over.wider_head"].values
    assert over == pytest.approx([60.0] * 3)  # every entry is far beyond the noise: no sign turns
    assert "moved_over.csba" not in figures


def test_what_tuning_explains_is_what_is_lost_of_the_gain() -> None:
    plain = {"ce": np.array([0.5, 0.6]), "a": np.array([0.7, 0.7]), "b": np.array([0.6, 0.9])}
    tuned = {"ce": np.array([0.65, 0.7]), "a": np.array([0.7, 0.7]), "b": np.array([0.65, 0.8])}
    gain, left = explained(plain, tuned)
    assert gain == pytest.approx([0.15, 0.2])
    assert left == pytest.approx([0.025, 0.05])


def test_gains_are_of_units_that_all_methods_have(tmp_path: Path) -> None:
    """Each method misses another seed: what is left must not slip by one place."""
    for method, seeds, gain in (("a", (0, 2, 3), 0.1), ("ce", (0, 1, 3), 0.0)):
        for seed in seeds:
            value = 0.1 * seed + gain
            result = {"method": method, "seed": seed, "split_seed": 0, "status": "finished"}
            result |= {"test": {"macro_f1": {"value": value}}, "tuned": {"macro_f1": value}}
            write_json(tmp_path / "runs" / f"{method}.seed{seed}" / "result.json", result)
    found = threshold_gains.analyse(Lab(tmp_path / "lab", {}, {"runs": tmp_path}, {"against": "ce"}))
    assert found.figures["gain"].values == pytest.approx((0.1, 0.1))


def test_a_choice_goes_by_the_mean_over_seeds_and_warns_at_the_edge() -> None:
    scores = {0.01: [0.9, 0.1], 0.1: [0.6, 0.6], 1.0: [0.5, 0.65]}
    inner = choose("sgd", scores)
    assert (inner.value, inner.at_edge) == (0.1, False)
    edge = choose("sgd", scores, highest=False)
    assert (edge.value, edge.at_edge) == (0.01, True)
    assert [row[-1] for row in choice_table([inner, edge], "rate").rows] == ["", "at the edge of the grid"]


def test_balanced_losses_weigh_every_class_the_same() -> None:
    target = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    logits = torch.randn(len(target), 3, generator=torch.Generator().manual_seed(0))
    losses = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    by_class = sum(losses[target == k].mean() for k in range(3)) / 3
    assert balanced_losses(COUNTS)(logits, target).mean() == pytest.approx(float(by_class))
