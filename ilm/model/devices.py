"""Where a model can compute when it does not train (a training's place is `ilm.train.distributed.Hardware`)."""

import torch


def devices() -> list[torch.device]:
    """Every GPU that this process may use; where there is none, the CPU."""
    if not torch.cuda.is_available():
        return [torch.device("cpu")]
    return [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
