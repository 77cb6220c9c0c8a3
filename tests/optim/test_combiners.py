"""What every combiner promises, and the worked numbers of each."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.optim import MGDA, PCNGD, CAGrad, Combiner, PCGrad, UPGrad

EXAMPLE = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
MAKERS: dict[str, Callable[[], Combiner]] = {
    "pcngd": PCNGD,
    "pcgrad": lambda: PCGrad(seed=0),
    "upgrad": UPGrad,
    "cagrad": CAGrad,
    "mgda": MGDA,
}
every_combiner = pytest.mark.parametrize("name", MAKERS)


def _rows(m: int, p: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    lengths = 10 ** torch.empty(m, 1, dtype=torch.float64).uniform_(-1, 1, generator=generator)
    return lengths * torch.randn(m, p, dtype=torch.float64, generator=generator)


matrices = st.builds(_rows, st.integers(1, 6), st.integers(1, 8), st.integers(0, 10_000))


def _agree(left: Tensor, right: Tensor, unit: float = 1.0, tolerance: float = 1e-6) -> None:
    """Equal within ``tolerance`` of the results and of the gradients' own length ``unit``."""
    torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance * unit)


def _longest(rows: Tensor) -> float:
    return float(rows.norm(dim=1).max())


# Every combiner


@every_combiner
@settings(max_examples=25, deadline=None)
@given(row=st.integers(0, 1000), m=st.integers(1, 5))
def test_equal_gradients_come_back(name: str, row: int, m: int) -> None:
    gradient = _rows(1, 5, row)
    # The ridge of UPGrad leaves equal rows alone by symmetry; all others are exact by definition.
    _agree(MAKERS[name]()(gradient.expand(m, 5)), gradient[0])


@every_combiner
@settings(max_examples=25, deadline=None)
@given(rows=matrices, factor=st.sampled_from([1e-8, 1e-3, 7.0, 1e6]))
def test_the_unit_of_the_loss_does_not_matter(name: str, rows: Tensor, factor: float) -> None:
    _agree(MAKERS[name]()(factor * rows) / factor, MAKERS[name]()(rows), _longest(rows))


@every_combiner
@settings(max_examples=25, deadline=None)
@given(rows=matrices, seed=st.integers(0, 100))
def test_rotating_the_parameters_rotates_the_result(name: str, rows: Tensor, seed: int) -> None:
    turn = torch.linalg.qr(_rows(rows.shape[1], rows.shape[1], seed))[0]
    _agree(MAKERS[name]()(rows @ turn), MAKERS[name]()(rows) @ turn, _longest(rows))


@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"pcgrad"}))
@settings(max_examples=25, deadline=None)
@given(rows=matrices)
def test_the_order_of_the_classes_does_not_matter(name: str, rows: Tensor) -> None:
    _agree(MAKERS[name]()(rows.flip(0)), MAKERS[name]()(rows), _longest(rows))


@every_combiner
def test_zero_gradients_take_no_part(name: str) -> None:
    rows = _rows(3, 4, 1)
    with_zeros = torch.stack([rows[0], torch.zeros(4), rows[1], rows[2], torch.zeros(4)])
    _agree(MAKERS[name]()(with_zeros), MAKERS[name]()(rows))
    assert MAKERS[name]()(torch.zeros(3, 4)).tolist() == [0.0] * 4


@every_combiner
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_type_is_kept_and_no_graph_is_built(name: str, dtype: torch.dtype) -> None:
    rows = _rows(3, 4, 2).to(dtype).requires_grad_()
    result = MAKERS[name]()(rows)
    assert result.dtype == dtype
    assert result.shape == (4,)
    assert not result.requires_grad


@every_combiner
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_gradients_that_are_not_finite_are_refused(name: str, value: float) -> None:
    rows = _rows(3, 4, 3)
    rows[1, 2] = value
    with pytest.raises(InputError, match=r"rows must be finite, got NaN or infinity in rows\[1\]"):
        MAKERS[name]()(rows)


@every_combiner
@pytest.mark.parametrize("rows", [torch.ones(3), torch.ones(0, 3), torch.ones(2, 2, dtype=torch.int64)])
def test_what_is_no_matrix_of_gradients_is_refused(name: str, rows: Tensor) -> None:
    with pytest.raises(InputError, match=r"rows must be floating point \[m, P\]"):
        MAKERS[name]()(rows)


@every_combiner
def test_nearly_dependent_gradients_give_finite_weights(name: str) -> None:
    row = _rows(1, 6, 4)
    rows = torch.cat([row, -row * (1 + 1e-9), row + 1e-9, 1e-7 * _rows(1, 6, 5)])
    result = MAKERS[name]()(rows)
    assert result.isfinite().all()
    assert result.norm() <= 2 * rows.norm(dim=1).max()


@pytest.mark.parametrize("make", [PCNGD, PCGrad, CAGrad])
def test_an_unknown_scale_is_refused(make: Callable[..., Combiner]) -> None:
    with pytest.raises(InputError, match="scale must be a known name, got 'sum'"):
        make(scale="sum")


def test_a_combiner_without_memory_has_no_state() -> None:
    combiner = MGDA()
    combiner.load_state_dict({})
    combiner.observe(torch.tensor([0]), torch.tensor([1.0]))
    assert combiner.state_dict() == {}


# PCNGD


def test_pcngd_worked_numbers() -> None:
    _agree(PCNGD(scale="published")(EXAMPLE), torch.tensor([0.292893, 0.707107]).double(), tolerance=1e-5)


@settings(max_examples=25, deadline=None)
@given(rows=matrices, seed=st.integers(0, 100))
def test_pcngd_direction_ignores_class_weights(rows: Tensor, seed: int) -> None:
    weights = _rows(len(rows), 1, seed).abs() + 0.01
    published = PCNGD(scale="published")
    _agree(published(weights * rows), published(rows))
    # At the mean scale only the common length follows the weights.
    lengths = [r.norm(dim=1).mean() / len(rows) for r in (rows, weights * rows)]
    _agree(PCNGD()(weights * rows) / lengths[1], PCNGD()(rows) / lengths[0])


def test_pcngd_of_equal_norms_is_the_mean() -> None:
    rows = torch.nn.functional.normalize(_rows(4, 6, 6), dim=1) * 3
    _agree(PCNGD()(rows), rows.mean(0))


# PCGrad


def test_pcgrad_worked_numbers() -> None:
    expected = torch.tensor([0.5, 1.5], dtype=torch.float64)
    _agree(PCGrad(scale="published")(EXAMPLE), expected)
    _agree(PCGrad()(EXAMPLE), expected / 2)


@settings(max_examples=25, deadline=None)
@given(rows=st.builds(_rows, st.just(2), st.integers(1, 8), st.integers(0, 10_000)))
def test_pcgrad_of_two_classes_opposes_neither(rows: Tensor) -> None:
    assert (rows @ PCGrad()(rows) >= -1e-9 * rows.square().sum()).all()


@settings(max_examples=25, deadline=None)
@given(rows=matrices)
def test_pcgrad_without_conflict_is_the_plain_sum(rows: Tensor) -> None:
    _agree(PCGrad(scale="published")(rows.abs()), rows.abs().sum(0))


def _projected(rows: Tensor, k: int, order: tuple[int, ...]) -> Tensor:
    mine = rows[k].clone()
    for j in order:
        product = mine @ rows[j]
        if product < 0:
            mine -= product / (rows[j] @ rows[j]) * rows[j]
    return mine


def test_pcgrad_is_one_of_all_orders_and_draws_each() -> None:
    rows = _rows(3, 2, 14) - 0.5
    by_class = [
        [_projected(rows, k, order) for order in itertools.permutations(set(range(3)) - {k})]
        for k in range(3)
    ]
    possible = torch.stack([sum(choice, torch.zeros(2)) for choice in itertools.product(*by_class)])
    combiner = PCGrad(seed=3, scale="published")
    drawn = torch.stack([combiner(rows) for _ in range(80)])
    gaps = (drawn[:, None] - possible).norm(dim=2)
    assert float(gaps.min(1).values.max()) < 1e-9
    assert float(gaps.min(0).values.max()) < 1e-9


def test_pcgrad_random_state_round_trips() -> None:
    rows = _rows(6, 4, 8)
    first, second = PCGrad(seed=1), PCGrad(seed=2)
    first(rows)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(rows), second(rows))


def test_pcgrad_without_seed_follows_the_global_generator() -> None:
    rows, combiner = _rows(6, 4, 9), PCGrad()
    torch.manual_seed(5)
    first = combiner(rows)
    torch.manual_seed(5)
    assert torch.equal(combiner(rows), first)
    assert combiner.state_dict() == {}


@pytest.mark.parametrize("seed", [1.5, "0", True])
def test_pcgrad_seed_must_be_whole(seed: object) -> None:
    with pytest.raises(InputError, match="seed must be a whole number or None"):
        PCGrad(seed=seed)  # type: ignore[arg-type]


# UPGrad


def test_upgrad_worked_numbers() -> None:
    gram = (EXAMPLE @ EXAMPLE.T).numpy()
    np.testing.assert_allclose(UPGrad().weights(gram), [1.0, 0.75], atol=5e-4)
    _agree(UPGrad(ridge=1e-10)(EXAMPLE), torch.tensor([0.25, 0.75], dtype=torch.float64))
    _agree(UPGrad(ridge=1e-10)(EXAMPLE), PCGrad()(EXAMPLE))


@settings(max_examples=60, deadline=None)
@given(rows=matrices, ridge=st.sampled_from([1e-2, 1e-4, 1e-8]))
def test_upgrad_opposes_no_class_beyond_its_ridge(rows: Tensor, ridge: float) -> None:
    # Optimality says (G v)_j >= -ridge v_j, and v' (G + ridge I) v <= (1 + ridge) / m^2 bounds v_j.
    bound = (ridge * (1 + ridge)) ** 0.5 * float(rows.square().sum())
    assert (rows @ UPGrad(ridge)(rows) >= -bound).all()


def test_upgrad_ridge_lets_a_short_gradient_be_opposed_a_little() -> None:
    # By hand for g = (1), (-e): v = (1, e / (e^2 + r)) / 2 projects g_1, so that its inner product with g_2
    # is -e r / (e^2 + r) / 2, which at e^2 = r is -e / 4; projecting g_2 adds nearly nothing.
    e, ridge = 1e-2, 1e-4
    rows = torch.tensor([[1.0], [-e]], dtype=torch.float64) / (1 + e * e) ** 0.5
    worst = float((rows @ UPGrad(ridge)(rows)).min())
    assert worst == pytest.approx(-e / 4, rel=1e-2)
    assert float((rows @ UPGrad(1e-10)(rows)).min()) > -1e-5


def test_upgrad_without_conflict_is_the_mean() -> None:
    rows = _rows(4, 6, 10).abs()
    _agree(UPGrad()(rows), rows.mean(0))


def test_upgrad_matches_a_general_solver() -> None:
    rows = _rows(4, 3, 11)
    gram = (rows @ rows.T / rows.square().sum()).numpy() + 1e-4 * np.eye(4)
    total = np.zeros(4)
    for start in np.eye(4) / 4:
        found = minimize(
            lambda v: v @ gram @ v,
            start,
            jac=lambda v: 2 * gram @ v,
            bounds=[(low, None) for low in start],
            options={"ftol": 1e-15, "gtol": 1e-12},
        )
        total += found.x
    np.testing.assert_allclose(UPGrad().weights((rows @ rows.T).numpy()), total, atol=1e-5)


def test_upgrad_ridge_must_be_positive() -> None:
    with pytest.raises(InputError, match=r"ridge must be in \(0, 1\), got 0"):
        UPGrad(ridge=0)


# MGDA


def test_mgda_worked_numbers() -> None:
    # By hand: |a (1, 0) + (1 - a)(-1, 1)|^2 = (2a - 1)^2 + (1 - a)^2 is least at a = 3/5.
    _agree(MGDA()(EXAMPLE), torch.tensor([0.2, 0.4], dtype=torch.float64))


@settings(max_examples=40, deadline=None)
@given(rows=matrices)
def test_mgda_is_the_shortest_vector_of_the_hull(rows: Tensor) -> None:
    weights = MGDA().weights((rows @ rows.T).numpy())
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1.0)
    shortest = MGDA()(rows)
    # Optimality: every row reaches at least as far along d as d itself.
    assert (rows @ shortest >= shortest @ shortest - 1e-9 * rows.square().sum()).all()


def test_mgda_vanishes_where_gradients_cancel() -> None:
    rows = torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 1.0]])
    assert float(MGDA()(rows).norm()) < 1e-6


# CAGrad


def test_cagrad_worked_numbers() -> None:
    direction = CAGrad(c=0.5, scale="published")(EXAMPLE)
    mean = EXAMPLE.mean(0)
    _agree(direction, torch.tensor([0.25, 0.5], dtype=torch.float64))
    assert float((direction - mean).norm()) == pytest.approx(0.5 * float(mean.norm()))
    _agree(CAGrad(c=0.5)(EXAMPLE), direction / 1.5)


@settings(max_examples=25, deadline=None)
@given(rows=matrices, c=st.sampled_from([0.1, 0.5, 0.9, 1.5]))
def test_cagrad_stays_within_its_ball_and_no_class_does_worse(rows: Tensor, c: float) -> None:
    mean = rows.mean(0)
    direction = CAGrad(c=c, scale="published")(rows)
    assert float((direction - mean).norm()) <= c * float(mean.norm()) * (1 + 1e-4) + 1e-9
    scale = float(rows.square().sum())
    assert float((rows @ direction).min()) >= float((rows @ mean).min()) - 1e-7 * scale


def _worst_rate(rows: Tensor, c: float) -> float:
    """The best worst rate over the ball, by its dual over a general solver."""
    gram = (rows @ rows.T).numpy()
    along, m = gram.mean(1), len(gram)
    radius = c * np.sqrt(along.mean())
    found = minimize(
        lambda w: w @ along + radius * np.sqrt(max(w @ gram @ w, 0)),
        np.full(m, 1 / m),
        method="SLSQP",
        bounds=[(0, 1)] * m,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return float(found.fun)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("c", [0.3, 0.8])
def test_cagrad_reaches_the_best_worst_rate(seed: int, c: float) -> None:
    rows = _rows(4, 6, 20 + seed)
    direction = CAGrad(c=c, scale="published")(rows)
    scale = float(rows.square().sum())
    assert float((rows @ direction).min()) == pytest.approx(_worst_rate(rows, c), abs=1e-6 * scale)


def test_cagrad_at_radius_zero_or_without_mean_is_the_mean() -> None:
    rows = _rows(3, 4, 12)
    _agree(CAGrad(c=0)(rows), rows.mean(0))
    opposed = torch.tensor([[1.0, 2.0], [-1.0, -2.0]], dtype=torch.float64)
    assert float(CAGrad()(opposed).norm()) == 0.0


def test_cagrad_radius_must_not_be_negative() -> None:
    with pytest.raises(InputError, match=r"c must be in \[0, inf\], got -0.5"):
        CAGrad(c=-0.5)
