"""The frozen language model's layers spread over the processes of a training (FSDP2), where they do not fit one device.

Each process keeps its part of every layer's weights, and gathers a layer while it computes with it, forward and back.
Word embeddings, output layer and norms between stay whole: they are used outside of the model's own forward, too.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor


def spread_layers(model: Any, device: torch.device, processes: int) -> None:
    """Keep this process's part of each layer on `device`, in place; a collective, and so is every use from then on.

    The rest of the model is left where it is. Layers may come from the CPU: they are brought over one by one.
    """
    mesh = init_device_mesh(device.type, (processes,))
    layers = _layers(model.base_model)
    inside = {parameter for layer in layers for parameter in layer.parameters()}
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    # Without weights of its own, but the layers under one roof fetch the next one while one computes.
    fully_shard(model.base_model, mesh=mesh, ignored_params=set(model.base_model.parameters()) - inside)


def own_part(tensor: Tensor) -> Tensor:
    """What this process has of a tensor: all of it, unless it is spread."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def is_spread(model: Any) -> bool:
    """Whether layers are spread over processes, so that all must use the model equally often."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def _layers(decoder: nn.Module) -> nn.ModuleList:
    """A decoder's list of layers: the one with most weights, whatever its name is."""
    lists = [module for module in decoder.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=lambda found: sum(parameter.numel() for parameter in found.parameters()))
