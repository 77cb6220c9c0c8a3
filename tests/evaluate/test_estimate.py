import json

import pytest

from tailgrad.evaluate import Estimate


@pytest.mark.parametrize("figure", [Estimate(0.5), Estimate(0.25, 0.125, 0.5, "Wilson 95%")])
def test_survives_json(figure: Estimate) -> None:
    assert Estimate.from_dict(json.loads(json.dumps(figure.to_dict()))) == figure


def test_prints_its_interval_only_where_there_is_one() -> None:
    assert str(Estimate(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"
    assert str(Estimate(0.5, 0.25, None)) == "0.500"
