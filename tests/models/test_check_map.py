import logging
import warnings

import pytest
import torch

from tailgrad.checks import InputError
from tailgrad.data import open_source
from tailgrad.models import check_map, create_model
from tailgrad.models.evaluating import evaluating
from tailgrad.recipes.config import DataConfig
from tailgrad.recipes.prepare import chosen_size


def test_reports_the_map_and_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    model = create_model("resnet32", 3)
    with caplog.at_level(logging.INFO, logger="tailgrad"):
        assert check_map(model, (24, 40)) == (12, 20)
    assert "24 x 40, used at 48 x 80, give a final map of 12 x 20" in caplog.text


def test_small_maps_warn_once_and_name_the_smallest_size_that_helps() -> None:
    model = create_model("tripath", 3)
    with pytest.warns(UserWarning, match=r"8 x 8 \(used at 32 x 32\) .* 2 x 2.* at least 47 pixels"):
        assert check_map(model, (8, 8)) == (2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_map(model, (32, 32)) == (2, 2)
    # The size named is the smallest indeed.
    assert check_map(model, (47, 47)) == (3, 3)
    assert check_map(model, (46, 47)) == (2, 3)


def test_one_thin_side_is_enough_to_warn() -> None:
    with pytest.warns(UserWarning, match="2 x 6"):
        check_map(create_model("tripath", 3), (32, 96))


@pytest.mark.parametrize("name", ["tripath", "timm/convnext_atto", "timm/mobilenetv3_small_050"])
def test_the_size_named_gives_three_by_three(name: str) -> None:
    model = create_model(name, 3)
    with pytest.warns(UserWarning, match="use images of at least") as caught:
        check_map(model, (8, 8))
    side = int(str(caught[0].message).split("at least ")[1].split()[0])
    assert f"a recipe's data.size={side} enlarges them" in str(caught[0].message)
    size = chosen_size(open_source("digits-lt"), DataConfig(size=side))  # of images of 8 x 8
    assert size == (side, side)
    assert min(check_map(model, size)) == 3
    assert min(check_map(model, (side - 1, side - 1))) == 2


def test_nothing_in_the_model_changes() -> None:
    model = create_model("tripath", 3, head="csba").train()
    model.backbone.stage1.eval()
    modes = [m.training for m in model.modules()]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    check_map(model, (64, 64))
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_token_models_have_no_grid_to_be_small() -> None:
    assert check_map(create_model("timm/vit_tiny_patch16_224", 3), (8, 8)) == (197,)


def test_images_too_small_to_run_are_refused() -> None:
    options = {"stem_kernel": 7, "stem_stride": 4, "stem_padding": 0}
    model = create_model("tripath", 3, backbone_options=options)
    with pytest.raises(
        InputError, match=r"large enough for the network, got 8 x 8; use .* at least (\d+)"
    ) as error:
        check_map(model, (8, 8))
    side = int(str(error.value).split("at least ")[1].split()[0])
    model.eval()(torch.zeros(1, 3, side, side))
    with pytest.raises(RuntimeError):
        model.eval()(torch.zeros(1, 3, side - 1, side - 1))
    with pytest.raises(InputError, match="size must be at least 1 by 1"):
        check_map(model, (0, 8))


def test_modes_come_back_after_an_error() -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout().eval())
    with pytest.raises(KeyError), evaluating(model):
        {}["missing"]
    assert [m.training for m in model] == [True, False]
