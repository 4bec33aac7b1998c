"""Where a training runs: device, precision, and this process among those that `torchrun` or `accelerate launch` runs.

There is no DistributedDataParallel wrapper. Each process computes its shard of a step's batch; a loss is that shard's
*share*, so that shares add up to the loss of the whole batch, whatever counts it is a mean over; and one all-reduce
adds up gradients and logged values. That is exact for losses that call sub-modules directly and for parameters that
some steps leave out, and on one process it is nothing at all.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist

from ilm.errors import ConfigError
from ilm.model.shards import WHOLE, Shard

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""Of matrix products, and of the frozen language model; what is trained is always kept in float32. No fp16: the
Q-Former's losses overflow in it."""


@dataclass(frozen=True)
class Hardware:
    """A training's place and precision."""

    device: torch.device
    shard: Shard
    """This process's share of every micro-batch."""
    precision: str

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes files, logs and progress."""
        return self.shard.index == 0

    @property
    def dtype(self) -> torch.dtype:
        """In which matrix products are computed and frozen weights are held."""
        return PRECISIONS[self.precision]

    def autocast(self) -> AbstractContextManager[None]:
        """Context in which losses are computed."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.precision != "fp32")

    def add_up(self, parameters: Sequence[nn.Parameter], values: Tensor) -> Tensor:
        """Sum gradients (in place) and `values` [n] over all processes; returns the values.

        One flat bucket. A parameter that no process has a gradient for keeps none, as on one process; one that only
        some have a gradient for counts as zero on the others.
        """
        if self.shard.count == 1:
            return values
        marks = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32, device=self.device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        parts = [values.float(), marks, *(gradient.flatten() for gradient in gradients)]
        bucket = torch.cat(parts)
        dist.all_reduce(bucket)
        values, marks, *sums = bucket.split([len(part) for part in parts])
        for parameter, used, total in zip(parameters, marks.tolist(), sums, strict=True):
            parameter.grad = total.view_as(parameter) if used else None
        return values


ONE_CPU = Hardware(torch.device("cpu"), WHOLE, "fp32")


def find_hardware(precision: str) -> Hardware:
    """The GPU of this process if there is one, else the CPU; joins the process group under a launcher.

    Raises:
        ConfigError: `precision` is none of `PRECISIONS`, or the GPU cannot compute in bf16.
    """
    from accelerate import PartialState  # takes two seconds

    if precision not in PRECISIONS:
        raise ConfigError(f"model.precision: '{precision}' is none of {', '.join(PRECISIONS)}.")
    state = PartialState(cpu=not torch.cuda.is_available())
    if precision == "bf16" and state.device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ConfigError("model.precision: this GPU has no bf16. Set model.precision to fp32.")
    return Hardware(state.device, Shard(state.process_index, state.num_processes), precision)


def leave_processes() -> None:
    """Leave the process group at the end of a program, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
