"""The state of PyTorch's generators as text, so that it fits into a checkpoint's meta data."""

import base64

import torch


def random_state() -> dict[str, str]:
    """State of the generators of the CPU and of every GPU, by device.

    Example:
        >>> before = random_state()
        >>> a = torch.rand(2)
        >>> set_random_state(before)
        >>> torch.equal(a, torch.rand(2))
        True
    """
    states = {"cpu": torch.get_rng_state()}
    for place in range(torch.cuda.device_count()):
        states[f"cuda:{place}"] = torch.cuda.get_rng_state(place)
    return {name: base64.b64encode(bytes(state.tolist())).decode() for name, state in states.items()}


def set_random_state(states: dict[str, str]) -> None:
    """Set the generators to a state that ``random_state`` gave; devices that are gone are passed over.

    Example: see ``random_state``.
    """
    for name, text in states.items():
        state = torch.tensor(list(base64.b64decode(text)), dtype=torch.uint8)
        if name == "cpu":
            torch.set_rng_state(state)
        elif int(name.partition(":")[2]) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, name)
