import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.losses.gala_accumulators import ACCUMULATIONS, GALAAccumulators

COUNTS = [90, 9, 1]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_weights_of_the_steps(gradients: list[float]) -> None:
    found = {kind: GALAAccumulators(COUNTS, kind, momentum=0.75).double() for kind in ACCUMULATIONS}
    for value in gradients:
        for each in found.values():
            each.add(torch.tensor([value, 0.0, 1.0]))
    steps = len(gradients)
    expected = {
        "double": sum((steps - s) * g for s, g in enumerate(gradients)),
        "sum": sum(gradients),
        "ema": sum(0.25 * 0.75 ** (steps - s - 1) * g for s, g in enumerate(gradients)),
    }
    for kind, accumulators in found.items():
        assert accumulators.theta[0].item() == pytest.approx(expected[kind], abs=1e-6)
        assert accumulators.theta[1].item() == 0


@pytest.mark.parametrize("kind", ACCUMULATIONS)
def test_start_is_worth_steps_at_the_prior(kind: str) -> None:
    accumulators = GALAAccumulators(COUNTS, kind, start=5.0)
    torch.testing.assert_close(accumulators.theta, torch.tensor([4.5, 0.45, 0.05]))
    logs = accumulators.log(0.0, scale_free=True)
    torch.testing.assert_close(logs.softmax(0), torch.tensor([0.9, 0.09, 0.01]))
    assert logs.exp().mean().item() == pytest.approx(1)
    torch.testing.assert_close(accumulators.log(0.0, scale_free=False).exp(), accumulators.theta)


def test_long_runs_stay_exact_in_single_precision() -> None:
    accumulators = GALAAccumulators(COUNTS)
    step = torch.tensor([0.3, 0.01, 0.001])
    for _ in range(3000):
        accumulators.add(step)
    torch.testing.assert_close(accumulators.theta, step * 3000 * 3001 / 2, rtol=1e-4, atol=0)
