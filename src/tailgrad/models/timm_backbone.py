"""Any timm image model as a backbone."""

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.models.evaluating import evaluating


def _build(name: str, pretrained: bool, options: dict[str, Any]) -> Any:
    import timm  # takes seconds, and most runs have a network of our own

    if ":" not in name and not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(close)}?" if close else "see timm.list_models()"
        raise InputError(f"a timm model must have a name that timm knows, got {name!r}; {hint}")
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    except TypeError as error:
        raise InputError(f"backbone_options must suit timm's {name}, got {options}: {error}") from error
    except Exception as error:
        if not pretrained:
            raise
        raise InputError(
            f"pretrained weights of timm/{name} must be at hand, got {type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no message'}; "
            "connect to the network once, or pass pretrained=False"
        ) from error


def _fixed_size(net: Any, options: dict[str, Any]) -> tuple[int, int] | None:
    cfg = net.pretrained_cfg
    if not cfg.get("fixed_input_size") or options.get("dynamic_img_size"):
        return None
    size = options.get("img_size", getattr(getattr(net, "patch_embed", None), "img_size", None))
    if size is None:
        size = cfg["input_size"][1:]
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


class TimmBackbone(nn.Module):
    """A timm model without its classifier, channels first whatever layout timm uses inside.

    ``pool`` is everything timm does between its features and its classifier: pooling, normalisation,
    pre-logits. So a linear head with the weights of timm's classifier gives timm's logits, for the models
    whose classifier is one linear layer (not those that average a second, distilled one).

    Args:
        name: a timm model's name, with its weights' tag where wanted, such as ``"resnet18"``.
        pretrained: load weights trained elsewhere.
        options: further arguments of ``timm.create_model``, such as ``{"img_size": 96}``.

    Raises:
        InputError: timm knows no such model, an option does not suit it, its weights cannot be had, or its
            features are not one tensor.

    Source: timm (https://github.com/huggingface/pytorch-image-models), ``forward_features``,
    ``forward_head``.

    Example:
        >>> backbone = TimmBackbone("convnext_atto")
        >>> backbone.channels, backbone.pooled, backbone.grid, backbone.input_size
        (320, 320, True, None)
    """

    def __init__(self, name: str, *, pretrained: bool = False, options: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.name = name
        self.net = _build(name, pretrained, options or {})
        self.input_size = _fixed_size(self.net, options or {})
        with evaluating(self), torch.no_grad():
            raw = self.net.forward_features(self._probe())
            if not isinstance(raw, Tensor):
                raise InputError(
                    f"timm/{name} must return one tensor, got {type(raw).__name__}; choose another"
                )
            self.channels_last = self._is_channels_last(raw)
            features = self._channels_first(raw)
            self.channels = features.shape[1]
            self.pooled = self.pool(features).shape[1]
        self.grid = features.ndim == 4
        self.stages = tuple(
            f"net.{name}" for name, child in self.net.named_children() if list(child.parameters())
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, C, *spatial] of images [N, 3, H, W]."""
        return self._channels_first(self.net.forward_features(images))

    def pool(self, features: Tensor) -> Tensor:
        """Pre-logits [N, D] of features [N, C, *spatial]."""
        raw = features.movedim(1, features.ndim - 1) if self.channels_last else features
        pooled: Tensor = self.net.forward_head(raw, pre_logits=True)
        return pooled.flatten(1)

    def freeze_pool(self) -> tuple[str, ...]:
        """Stop gradients of the parameters that only ``pool`` uses, for heads on the map; return their names.

        They would receive none anyway, which distributed training takes for an error.
        """
        names, parameters = zip(*self.named_parameters(), strict=True)
        with evaluating(self), torch.enable_grad():
            grads = torch.autograd.grad(self(self._probe()).sum(), parameters, allow_unused=True)
        unused = [name for name, grad in zip(names, grads, strict=True) if grad is None]
        for name in unused:
            self.get_parameter(name).requires_grad_(False)
        return tuple(unused)

    def _probe(self) -> Tensor:
        return torch.zeros(1, 3, *(self.input_size or self.net.pretrained_cfg["input_size"][1:]))

    def _is_channels_last(self, raw: Tensor) -> bool:
        if raw.ndim == 2:
            return False
        if raw.shape[1] == raw.shape[-1]:
            return raw.ndim == 3 or str(getattr(self.net, "output_fmt", "NCHW")).endswith("NHWC")
        return bool(raw.shape[-1] == self.net.num_features)

    def _channels_first(self, raw: Tensor) -> Tensor:
        return raw.movedim(raw.ndim - 1, 1) if self.channels_last else raw
