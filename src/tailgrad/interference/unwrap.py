"""The model inside what training wraps around it."""

from torch import nn

from tailgrad.checks import InputError

_WRAPPERS = {"DistributedDataParallel": "module", "_FabricModule": "module", "OptimizedModule": "_orig_mod"}
_REFUSED = ("FullyShardedDataParallel", "DataParallel", "ScriptModule", "RecursiveScriptModule")


def unwrap(model: nn.Module) -> nn.Module:
    """The network itself, out of DistributedDataParallel, Fabric's wrapper and ``torch.compile``.

    Raises:
        InputError: not a module, or one whose layers cannot be listened to.

    Example:
        >>> unwrap(nn.Linear(2, 2))
        Linear(in_features=2, out_features=2, bias=True)
    """
    if not isinstance(model, nn.Module):
        raise InputError(
            f"model must be a torch.nn.Module, got {type(model).__name__}; pass the module that is trained"
        )
    kind = type(model).__name__
    if kind in _WRAPPERS:
        return unwrap(getattr(model, _WRAPPERS[kind]))
    sharded = any(type(p).__name__ == "DTensor" for p in model.parameters())
    if kind in _REFUSED or sharded:
        raise InputError(
            f"model must hold whole parameters in Python modules, got {'DTensor' if sharded else kind}; "
            "train with DistributedDataParallel, or measure checkpoints with tailgrad.interference.measure"
        )
    return model


def is_compiled(model: nn.Module) -> bool:
    """Whether the model or a part of it was given to ``torch.compile``.

    Example:
        >>> is_compiled(nn.Linear(2, 2))
        False
    """
    return any(
        type(m).__name__ == "OptimizedModule" or getattr(m, "_compiled_call_impl", None) is not None
        for m in model.modules()
    )
