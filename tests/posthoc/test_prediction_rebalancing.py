import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.posthoc import PredictionRebalancing

P = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.35, 0.05], [0.5, 0.1, 0.4], [0.55, 0.05, 0.4]]).double()


def _logits(n: int = 12, k: int = 4, seed: int = 0) -> Tensor:
    return 2 * torch.randn(n, k, generator=torch.Generator().manual_seed(seed)).double()


def _transductive(tau: float = 1.0) -> PredictionRebalancing:
    return PredictionRebalancing(tau=tau, mode="transductive")


@pytest.mark.parametrize(
    ("tau", "rows", "expected"),
    [
        (0, 4, [0, 0, 0, 0]),
        (1, 4, [0, 1, 2, 2]),
        (1.5, 4, [1, 1, 2, 2]),
        (2, 4, [1, 1, 2, 2]),
        (1, 2, [2, 1]),
    ],
)
def test_worked_example(tau: float, rows: int, expected: list[int]) -> None:
    assert _transductive(tau).transform(P[:rows].log()).argmax(1).tolist() == expected


def test_one_row_is_a_tie() -> None:
    scores = _transductive().transform(P[:1].log())
    torch.testing.assert_close(scores, torch.zeros_like(scores))


@given(st.integers(0, 10**6), st.sampled_from([0.5, 1.0, 1.5]), st.floats(-50, 50))
def test_the_released_rule_and_logit_adjustment_with_the_measured_prior(
    seed: int, tau: float, constant: float
) -> None:
    z = _logits(seed=seed)
    scores = _transductive(tau).transform(z + constant)
    shares = z.softmax(1)
    # P / c^tau with column sums, as released, up to one factor for the whole matrix.
    released = shares / shares.sum(0) ** tau
    torch.testing.assert_close(scores.exp() / scores.exp().sum(), released / released.sum())
    adjusted = shares.log() - tau * shares.mean(0).log()
    assert torch.equal(scores.argmax(1), adjusted.argmax(1))


@pytest.mark.parametrize("averaging", ["class", "plain"])
def test_inductive_prior_is_the_mean_over_classes_or_rows(averaging: str) -> None:
    target = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3])
    z = _logits()
    method = PredictionRebalancing(averaging=averaging, tau=0.7).fit(z, target)
    shares = z.softmax(1)
    by_class = torch.stack([shares[target == k].mean(0) for k in range(4)])
    expected = by_class.mean(0) if averaging == "class" else shares.mean(0)
    torch.testing.assert_close(method.prior.double(), expected, rtol=1e-6, atol=0)
    fresh = _logits(seed=1)
    torch.testing.assert_close(
        method.transform(fresh), fresh.log_softmax(1) - 0.7 * expected.log(), rtol=0, atol=1e-5
    )
    correction = method.correction()
    assert correction.kind == "test_shift"
    assert correction.log_shift == pytest.approx((0.7 * expected.log()).tolist(), rel=1e-5)


def test_absent_classes_fall_back_to_counts() -> None:
    z, target = _logits(3), torch.tensor([0, 1, 2])
    method = PredictionRebalancing([70, 20, 6, 4]).fit(z, target)
    expected = z.softmax(1).mean(0)
    expected[3] = 0.04
    torch.testing.assert_close(method.prior.double(), expected, rtol=1e-6, atol=0)
    with pytest.raises(InputError, match="got none of class 3"):
        PredictionRebalancing().fit(z, target)
    assert PredictionRebalancing(averaging="plain").fit(z, target).prior.shape == (4,)


def test_a_class_that_receives_nothing_is_clamped() -> None:
    z = torch.tensor([[0.0, -500.0], [1.0, -500.0]])
    method = PredictionRebalancing(averaging="plain").fit(z, torch.tensor([0, 0]))
    assert method.prior[1].item() == pytest.approx(1e-12)
    assert torch.isfinite(method.transform(z)).all()
    assert torch.isfinite(_transductive().transform(z)).all()


def test_tuning_finds_what_the_training_left() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(3).repeat(200)
    z = torch.randn(600, 3, generator=generator)
    z[torch.arange(600), target] += 2
    biased = z + torch.tensor([4.0, 1.0, -2.0])
    tuned = PredictionRebalancing(tau="tuned").fit(biased, target)
    right = [
        (tuned.transform(biased).argmax(1) == target).float().mean(),
        (biased.argmax(1) == target).float().mean(),
    ]
    assert right[0] > right[1] + 0.1
    # Without a bias, c is nearly uniform: hardly anything is shifted whatever the strength.
    shift = PredictionRebalancing().fit(z, target).correction().log_shift
    assert max(shift) - min(shift) < 0.2


def test_streaming_is_the_running_column_mean() -> None:
    z = _logits(10)
    stream = PredictionRebalancing(mode="streaming")
    parts = [stream.transform(part) for part in (z[:3], z[3:4], z[4:])]
    for stop, part in zip((3, 4, 10), parts, strict=True):
        seen = z[:stop].softmax(1).mean(0)
        torch.testing.assert_close(
            part, z[stop - len(part) : stop].log_softmax(1) - seen.log(), rtol=0, atol=1e-5
        )
    torch.testing.assert_close(parts[-1], _transductive().transform(z)[4:], rtol=0, atol=1e-5)
    resumed = PredictionRebalancing(mode="streaming")
    resumed.load_state_dict(stream.state_dict())
    fresh = _logits(2, seed=2)
    assert torch.equal(resumed.transform(fresh), stream.transform(fresh))
    stream.transform(fresh[:0])
    assert stream.rows.item() == 12


def test_streaming_starts_from_held_out_data_and_may_forget() -> None:
    held_out, fresh = _logits(4), _logits(6, seed=1)
    stream = PredictionRebalancing(mode="streaming").fit(held_out, torch.arange(4))
    stream.transform(fresh)
    expected = torch.cat([held_out, fresh]).softmax(1).mean(0)
    torch.testing.assert_close(stream.prior.double(), expected, rtol=1e-6, atol=0)
    forgetful = PredictionRebalancing(mode="streaming", momentum=0.9).fit(held_out, torch.arange(4))
    forgetful.transform(fresh)
    expected = 0.9 * held_out.softmax(1).mean(0) + 0.1 * fresh.softmax(1).mean(0)
    torch.testing.assert_close(forgetful.prior.double(), expected, rtol=1e-6, atol=0)
    assert forgetful.correction().log_shift == pytest.approx([math.log(x) for x in expected], rel=1e-5)


def test_streaming_does_not_count_a_row_of_nan() -> None:
    rows = torch.tensor([[2.0, 0.0], [torch.nan, 0.0], [0.0, 1.0]])
    broken, plain = (PredictionRebalancing(mode="streaming") for _ in range(2))
    found = broken.transform(rows)
    torch.testing.assert_close(found[[0, 2]], plain.transform(rows[[0, 2]]))
    assert found[1].isnan().all()
    broken.transform(rows[1:2])
    torch.testing.assert_close(dict(broken.state_dict()), dict(plain.state_dict()))


def test_what_looks_at_the_evaluation_set_is_only_listed() -> None:
    method = PredictionRebalancing([3, 2, 1, 1], mode="transductive").fit(_logits(4), torch.arange(4))
    assert method.correction().kind == "listed"
    assert PredictionRebalancing(mode="streaming").correction().log_shift == ()
