"""The data of the examples: scikit-learn's handwritten digits, made long-tailed (128 zeros, 6 nines)."""

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from tailgrad.data import load_images, longtail, open_source

SIZE = (16, 16)


class Digits(TensorDataset):
    """Normalised images [3, 16, 16] with their class, and the names of the classes."""

    def __init__(self, images: Tensor, labels: Tensor, classes: list[str]) -> None:
        super().__init__(images, labels)
        self.images, self.labels, self.classes = images, labels, classes


class AsMappings(Dataset[dict[str, Tensor]]):
    """The same examples as the Hugging Face Trainer wants them."""

    def __init__(self, digits: Digits) -> None:
        self.digits = digits

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        image, label = self.digits[i]
        return {"pixel_values": image, "labels": label}


def digits(part: str) -> Digits:
    """The long-tailed training part ("train"), or the balanced test part ("test")."""
    source = open_source("digits-lt")
    index = np.flatnonzero(np.array(source.given) == part)
    if part == "train" and source.profile is not None:
        index = index[longtail(source.labels[index], source.profile, seed=0)]
    images = load_images(source, index, SIZE).float() / 127.5 - 1
    return Digits(images, Tensor(source.labels[index]).long(), list(source.class_names))
