import logging
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.heads import ETF
from tailgrad.models import CifarResNet, Classifier


def _gram(classes: int) -> torch.Tensor:
    return classes / (classes - 1) * (torch.eye(classes) - 1 / classes)


@given(st.integers(2, 12), st.integers(-1, 9), st.integers(0, 10**6))
def test_vectors_are_a_simplex_where_one_fits(classes: int, more: int, seed: int) -> None:
    vectors = ETF(classes + more, classes, seed=seed).vectors
    torch.testing.assert_close(vectors.T @ vectors, _gram(classes), atol=1e-5, rtol=0)
    torch.testing.assert_close(vectors.sum(1), torch.zeros(classes + more), atol=1e-5, rtol=0)


def test_cosines_of_four_classes() -> None:
    vectors = ETF(16, 4).vectors
    assert vectors.norm(dim=0).tolist() == pytest.approx([1] * 4, abs=1e-6)
    assert float(vectors[:, 0] @ vectors[:, 3]) == pytest.approx(-1 / 3, abs=1e-6)


@given(st.integers(1, 6), st.integers(2, 30))
def test_fewer_dimensions_are_a_projection_first_and_say_so(channels: int, more: int) -> None:
    classes = channels + more
    head = ETF(channels, classes, batch_norm=False)
    assert head.projected
    # A [K, D] orthonormal lifts features without changing lengths; the simplex of R^K follows.
    lift = head.vectors.T / math.sqrt(classes / (classes - 1))
    torch.testing.assert_close(lift.T @ lift, torch.eye(channels), atol=1e-5, rtol=0)
    features = torch.randn(3, channels)
    simplex = math.sqrt(classes / (classes - 1)) * (torch.eye(classes) - 1 / classes)
    torch.testing.assert_close(head(features), features @ lift.T @ simplex, atol=1e-5, rtol=1e-5)


def test_only_a_projection_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="tailgrad"):
        assert not ETF(9, 10).projected
        assert not caplog.records
        ETF(8, 10)
    assert "8 channels hold no simplex of 10 classes" in caplog.text


def test_vectors_never_learn_and_are_saved() -> None:
    head, other = ETF(16, 4, seed=1), ETF(16, 4, seed=2)
    assert {n for n, _ in head.named_parameters()} == {"norm.weight", "norm.bias"}
    assert not list(ETF(16, 4, batch_norm=False).parameters())
    assert not torch.equal(head.vectors, other.vectors)
    other.load_state_dict(head.state_dict())
    assert torch.equal(head.vectors, other.vectors)
    assert torch.equal(head.vectors, ETF(16, 4, seed=1).vectors)


def test_logits_are_inner_products_with_what_is_embedded() -> None:
    head, features = ETF(16, 4, scale=3.0), torch.rand(32, 16)
    embedded = head.embed(features)
    torch.testing.assert_close(embedded.mean(0), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(head.classify(embedded), 3 * embedded @ head.vectors)
    assert torch.equal(ETF(16, 4, batch_norm=False).embed(features), features)


def test_one_example_uses_and_keeps_the_running_statistics() -> None:
    head = ETF(16, 4).train()
    head(torch.rand(32, 16))
    kept, one = head.norm.running_mean.clone(), torch.rand(1, 16)
    alone = head(one)
    assert torch.equal(head.norm.running_mean, kept)
    torch.testing.assert_close(alone, head.eval()(one))


def test_a_classifier_hands_the_embedded_features_on_and_normalises_once() -> None:
    model = Classifier(CifarResNet(blocks=1), ETF(64, 4)).train()
    images = torch.rand(4, 3, 32, 32)
    out = model.outputs(images)
    assert model.head.norm.num_batches_tracked == 1
    torch.testing.assert_close(out.logits, out.features @ model.head.vectors)
    assert (out.features < 0).any(), "rectified features alone cannot meet vectors that sum to zero"
    torch.testing.assert_close(model.eval()(images), model.outputs(images).logits)


def test_bad_scale() -> None:
    with pytest.raises(InputError, match="scale must be in"):
        ETF(16, 4, scale=-1.0)
