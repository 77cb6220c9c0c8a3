import pytest
import torch

from tailgrad.correction_ledger import ledger
from tailgrad.posthoc import (
    Chain,
    ClassThresholds,
    LogitAdjustment,
    PredictionRebalancing,
    TemperatureScaling,
)

COUNTS = [60, 20, 5]
GENERATOR = torch.Generator().manual_seed(0)
TARGET = torch.tensor(COUNTS).float().multinomial(200, True, generator=GENERATOR)
LOGITS = torch.randn(200, 3, generator=GENERATOR) + torch.nn.functional.one_hot(TARGET, 3)
FRESH = torch.randn(20, 3, generator=GENERATOR)


def test_each_step_is_fitted_on_what_those_before_give() -> None:
    chain = Chain([PredictionRebalancing(), ClassThresholds(), TemperatureScaling()]).fit(LOGITS, TARGET)
    first = PredictionRebalancing().fit(LOGITS, TARGET)
    second = ClassThresholds().fit(first.transform(LOGITS), TARGET)
    third = TemperatureScaling().fit(second.transform(first.transform(LOGITS)), TARGET)
    expected = third.transform(second.transform(first.transform(FRESH)))
    torch.testing.assert_close(chain.transform(FRESH), expected)
    shifts = [
        sum(pair) for pair in zip(first.correction().log_shift, second.correction().log_shift, strict=True)
    ]
    found = chain.correction()
    assert found is not None
    assert found.log_shift == pytest.approx(shifts, abs=1e-6)


def test_state_travels_into_a_chain_that_was_never_fitted() -> None:
    chain = Chain([LogitAdjustment(COUNTS, tau="tuned"), TemperatureScaling()]).fit(LOGITS, TARGET)
    other = Chain([LogitAdjustment(COUNTS, tau="tuned"), TemperatureScaling()])
    other.load_state_dict(chain.state_dict())
    assert torch.equal(other.transform(FRESH), chain.transform(FRESH))


def test_streaming_does_not_count_held_out_rows_twice() -> None:
    stream = PredictionRebalancing(mode="streaming")
    chain = Chain([stream, TemperatureScaling()]).fit(LOGITS, TARGET)
    assert stream.rows.item() == len(LOGITS)
    assert chain.transductive


def test_an_empty_chain_changes_nothing() -> None:
    chain = Chain([]).fit(LOGITS, TARGET)
    assert torch.equal(chain.transform(FRESH), FRESH)
    assert chain.correction() is None
    assert not chain.transductive


def test_unfitted_steps_are_listed() -> None:
    chain = Chain([ClassThresholds(COUNTS), TemperatureScaling()])
    assert ledger([chain], COUNTS).listed == ("Chain",)
