"""How folders, files and columns spell the parts of a split."""

import re

PARTS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Folder, file and column spellings of the parts of a split."""


def part_in(name: str) -> str:
    """The part that a file or folder name speaks of: its last word that is one; "" without such a word.

    Example:
        >>> part_in("ImageNet_LT_train.txt"), part_in("val2018.json"), part_in("testimony-000.tar")
        ('train', 'val', '')
    """
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word in PARTS]
    return PARTS[words[-1]] if words else ""


def without_part(name: str) -> str:
    """The name with that word left open, which is the same for all parts of one set.

    Example:
        >>> without_part("Places_LT_train.txt") == without_part("Places_LT_val.txt")
        True
    """
    if not part_in(name):
        return name
    last = [word for word in re.finditer("[A-Za-z]+", name) if word[0].lower() in PARTS][-1]
    return f"{name[: last.start()]}*{name[last.end() :]}"
