"""A batch computed by several processes: which rows are whose, and a gather that carries the gradient.

Every process knows the whole batch (its rows are integers), computes a contiguous part of it, and gathers what the
others computed only where rows are compared with each other, as contrast does.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from ilm.errors import ConfigError


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count` equal, contiguous parts of a batch; by default all of it."""

    index: int = 0
    count: int = 1

    def rows(self, total: int) -> slice:
        """This part's rows of a batch of `total`.

        Raises:
            ConfigError: the batch cannot be cut into equal parts.
        """
        size, left = divmod(total, self.count)
        if left or not size:
            raise ConfigError(
                f"a batch of {total} rows cannot be cut into {self.count} equal parts (processes x micro-batches). "
                "Make every batch size a multiple of it, or lower gradient_accumulation or the number of processes."
            )
        return slice(self.index * size, (self.index + 1) * size)

    def share(self, total: int) -> slice:
        """As `rows`, of any batch: parts differ by at most one row, and some have none where rows are few."""
        return slice(self.index * total // self.count, (self.index + 1) * total // self.count)

    def within(self, outer: "Shard") -> "Shard":
        """This part of the part `outer`, as a part of the whole."""
        return Shard(outer.index * self.count + self.index, outer.count * self.count)


WHOLE = Shard()


def gather_rows(own: Tensor, shard: Shard) -> Tensor:
    """The rows [count * b, ...] of all processes in their order, from this process's `own` [b, ...].

    Differentiable: the gradient of a row is the sum of what all processes' losses say about it, so with losses that
    add up over the processes it is the gradient of the whole loss. On one process, the identity without any
    communication. A collective: all processes must call it equally often.
    """
    if shard.count == 1:
        return own
    gathered: Tensor = _GatherRows.apply(own, shard)  # type: ignore[no-untyped-call]
    return gathered


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, shard: Shard) -> Tensor:
        ctx.shard = shard
        parts = [torch.empty_like(own) for _ in range(shard.count)]
        dist.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.shard.rows(len(total))], None
