import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.models import TriPath, create_model
from tailgrad.models.tripath import PLACEMENTS, TriPathFire

# Stem kernel, filters, conv bias, then totals for K = 6 by placement: stem, squeeze, concat, all.
TOTALS = [
    (3, 32, True, 1_340_434, 1_341_074, 1_348_114, 1_348_754),
    (3, 32, False, 1_336_242, 1_336_882, 1_343_922, 1_344_562),
    (3, 64, True, 1_341_906, 1_342_546, 1_349_586, 1_350_226),
    (3, 64, False, 1_337_682, 1_338_322, 1_345_362, 1_346_002),
    (3, 96, True, 1_343_378, 1_344_018, 1_351_058, 1_351_698),
    (3, 96, False, 1_339_122, 1_339_762, 1_346_802, 1_347_442),
    (5, 32, True, 1_341_970, 1_342_610, 1_349_650, 1_350_290),
    (5, 32, False, 1_337_778, 1_338_418, 1_345_458, 1_346_098),
    (5, 64, True, 1_344_978, 1_345_618, 1_352_658, 1_353_298),
    (5, 64, False, 1_340_754, 1_341_394, 1_348_434, 1_349_074),
    (5, 96, True, 1_347_986, 1_348_626, 1_355_666, 1_356_306),
    (5, 96, False, 1_343_730, 1_344_370, 1_351_410, 1_352_050),
    (7, 32, True, 1_344_274, 1_344_914, 1_351_954, 1_352_594),
    (7, 32, False, 1_340_082, 1_340_722, 1_347_762, 1_348_402),
    (7, 64, True, 1_349_586, 1_350_226, 1_357_266, 1_357_906),
    (7, 64, False, 1_345_362, 1_346_002, 1_353_042, 1_353_682),
    (7, 96, True, 1_354_898, 1_355_538, 1_362_578, 1_363_218),
    (7, 96, False, 1_350_642, 1_351_282, 1_358_322, 1_358_962),
]


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("row", TOTALS)
def test_every_reading_of_the_lost_constants_has_its_parameter_count(row: tuple[int, ...]) -> None:
    kernel, filters, bias, *totals = row
    head = 3 * (768 * 6 + 6)
    for placement, total in zip(PLACEMENTS, totals, strict=True):
        with torch.device("meta"):
            backbone = TriPath(
                stem_kernel=kernel, stem_filters=filters, conv_bias=bool(bias), batch_norm=placement
            )
        # The table counts heads with bias throughout.
        assert _size(backbone) + head == total


@pytest.mark.parametrize(
    ("head", "classes", "total"),
    [
        ("branch_sum", 6, 1_350_226),
        ("csba", 6, 1_792_594),
        ("class_heads", 6, 7_531_846),
        ("branch_softmax", 6, 1_350_229),
        ("branch_sum", 10, 1_359_454),
        ("csba", 10, 1_801_822),
        ("branch_softmax", 10, 1_359_457),
    ],
)
def test_recommended_totals(head: str, classes: int, total: int) -> None:
    model = create_model("tripath", classes, head=head)
    assert _size(model) == total
    assert _size(model.get_submodule("backbone")) == 1_336_384


@pytest.mark.parametrize(
    ("stem", "size", "expected"),
    [
        ({}, (224, 224), (14, 14)),
        ({"stem_kernel": 7, "stem_padding": 3}, (224, 224), (14, 14)),
        ({"stem_padding": 0}, (224, 224), (13, 13)),
        ({"stem_padding": 0}, (227, 227), (14, 14)),
        ({}, (32, 32), (2, 2)),
        ({}, (24, 40), (1, 2)),
        ({}, (48, 80), (3, 5)),
        ({}, (96, 160), (6, 10)),
    ],
)
def test_map_sizes(stem: dict[str, int], size: tuple[int, int], expected: tuple[int, int]) -> None:
    with torch.device("meta"):
        backbone = TriPath(**stem)
        features = backbone(torch.zeros(1, 3, *size))
    assert features.shape == (1, 768, *expected)


def test_sizes_on_the_way_for_224_pixels() -> None:
    sides = []
    with torch.device("meta"):
        backbone, x = TriPath(), torch.zeros(1, 3, 224, 224)
        for layer in (*backbone.stem, *backbone.stage1, *backbone.stage2, *backbone.stage3):
            x = layer(x)
            sides.append((x.shape[1], x.shape[2]))
    expected = [(64, 112)] * 3 + [(64, 56)] + [(192, 56)] * 2 + [(192, 28)] + [(384, 28)] * 2
    assert sides == expected + [(384, 14)] + [(576, 14)] * 2 + [(768, 14)] * 2


def _literal_fire(fire: TriPathFire, x: Tensor, training: bool) -> Tensor:
    """Three separate paths, each with its own convolution and batch normalisation."""

    def norm(value: Tensor, layer: nn.Module, part: slice) -> Tensor:
        mean, var = layer.running_mean[part].clone(), layer.running_var[part].clone()
        return F.batch_norm(value, mean, var, layer.weight[part], layer.bias[part], training)

    every = slice(None)
    squeezed = F.conv2d(x, fire.squeeze.weight, fire.squeeze.bias)
    q = F.leaky_relu(norm(squeezed, fire.squeeze_norm, every), 0.01)
    e = fire.expand1.out_channels
    weights, biases = fire.expand3.weight, fire.expand3.bias
    paths = [
        F.conv2d(q, fire.expand1.weight, fire.expand1.bias),
        F.conv2d(q, weights[:e], biases[:e], padding=1),
        F.conv2d(q, weights[e:], biases[e:], padding=1),
    ]
    parts = [slice(i * e, (i + 1) * e) for i in range(3)]
    return torch.cat(
        [F.leaky_relu(norm(p, fire.norm, s), 0.01) for p, s in zip(paths, parts, strict=True)], 1
    )


@pytest.mark.parametrize("training", [True, False])
def test_a_fire_equals_its_three_paths_written_out(training: bool) -> None:
    torch.manual_seed(0)
    fire = TriPathFire(8, 4, 6).double().train(training)
    for layer in (fire.squeeze_norm, fire.norm):
        for value in (layer.weight, layer.bias, layer.running_mean):
            nn.init.normal_(value)
    x = torch.randn(3, 8, 5, 7, dtype=torch.float64)
    expected = _literal_fire(fire, x, training)
    torch.testing.assert_close(fire(x), expected)


def test_start_is_kaiming_uniform_with_zero_biases() -> None:
    for name, layer in TriPath(slope=0.1).named_modules():
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.weight[0].numel()
            bound = (6 / ((1 + 0.1**2) * fan_in)) ** 0.5
            assert 0.9 * bound < layer.weight.abs().max() <= bound * 1.000001, name
            assert layer.bias is not None
            assert not layer.bias.any()
        elif isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all()
            assert not layer.bias.any()


def test_trains_on_one_small_image() -> None:
    model = create_model("tripath", 6, head="csba").train()
    model(torch.rand(1, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    "options",
    [{"stem_filters": 0}, {"stem_stride": 0}, {"stem_padding": -1}, {"slope": 2.0}, {"batch_norm": "al"}],
)
def test_bad_options_are_named(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        TriPath(**options)
