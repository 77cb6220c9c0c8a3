"""The files of the Hugging Face layout: their names, and what the configurations hold."""

from typing import Any

from tailgrad.recipes.after_training import FILE
from tailgrad.recipes.config import Config
from tailgrad.recipes.restore import Restored
from tailgrad.ship.description import Description, Preprocessing

CONFIG, WEIGHTS, PREPROCESSOR, CARD = (
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "README.md",
)
WANTED = [CONFIG, WEIGHTS, PREPROCESSOR, CARD, FILE]
"""Files that are fetched from the hub."""
_BILINEAR = 2


def configuration(about: Description, config: Config, network: Restored) -> dict[str, Any]:
    """What ``config.json`` holds: names as the hub reads them, the description, what rebuilding needs.

    Args:
        about: of the network.
        config: of its run; paths of the machine that trained it are left out.
        network: restored from the run.

    Example: see ``ship.save_pretrained``.
    """
    names = dict(enumerate(about.names))
    kept = {
        "source": str(about.provenance["data"]),
        "data": {"resize": config.data.resize},
        "model": config.model.model_dump(mode="json") | {"pretrained": False},
        "architecture": config.architecture.model_dump(mode="json"),
        "posthoc": [one.model_dump(mode="json") for one in config.posthoc],
    }
    return {
        "architectures": [type(network.model).__name__],
        "model_type": "tailgrad",
        "problem_type": f"{'multi' if about.several_labels else 'single'}_label_classification",
        "num_labels": len(names),
        "id2label": names,
        "label2id": {name: k for k, name in names.items()},
        "tailgrad": about.model_dump(mode="json"),
        "tailgrad_config": kept,
    }


def preprocessor(form: Preprocessing) -> dict[str, Any]:
    """What ``preprocessor_config.json`` holds.

    Example:
        >>> preprocessor(Preprocessing(size=(8, 8), mean=(0, 0, 0), std=(1, 1, 1)))["do_center_crop"]
        False
    """
    height, width = form.size
    size, crops = {"height": height, "width": width}, form.resize == "crop"
    # To height and width at once an image would be squashed, and nothing be left to crop.
    resized = {"shortest_edge": height} if crops and height == width else size
    return {
        "do_resize": True,
        "size": resized,
        "resample": _BILINEAR,
        "do_center_crop": crops,
        "crop_size": size,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(form.mean),
        "image_std": list(form.std),
    }


def model_name(about: Description) -> str:
    """Data, backbone and method.

    Example: see ``ship.save_pretrained``.
    """
    run = about.provenance
    return f"{run.get('data')}.{run.get('backbone')}.{run.get('method')}"
