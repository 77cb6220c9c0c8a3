"""The state of PyTorch's generators as text, so that it fits into a checkpoint's meta data."""

import base64

import torch

from tailgrad.distributed import place, rows_of_all


def random_state() -> dict[str, str]:
    """State of the generators of the CPU and of every GPU, by device, on every rank those of all.

    Example:
        >>> before = random_state()
        >>> a = torch.rand(2)
        >>> set_random_state(before)
        >>> torch.equal(a, torch.rand(2))
        True
    """
    states = {"cpu": torch.get_rng_state()}
    for number in range(torch.cuda.device_count()):
        states[f"cuda:{number}"] = torch.cuda.get_rng_state(number)
    return {
        _of_rank(rank, name): base64.b64encode(bytes(one.tolist())).decode()
        for name, state in states.items()
        for rank, one in enumerate(rows_of_all(state[None])[0])
    }


def set_random_state(states: dict[str, str]) -> None:
    """Set this rank's generators to what ``random_state`` gave; devices and ranks gone are passed over.

    Example: see ``random_state``.
    """
    devices = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    for name in devices:
        text = states.get(_of_rank(place()[0], name))
        if text is None:
            continue
        state = torch.tensor(list(base64.b64decode(text)), dtype=torch.uint8)
        if name == "cpu":
            torch.set_rng_state(state)
        else:
            torch.cuda.set_rng_state(state, name)


def _of_rank(rank: int, device: str) -> str:
    return f"rank {rank} {device}" if rank else device
