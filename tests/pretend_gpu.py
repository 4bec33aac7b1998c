"""A device that computes on the CPU, but keeps its tensors apart as a GPU does: an operator that is given tensors of
both fails, as it would there. It tells whether code brings everything to the device, where there is no GPU to try.

What it cannot tell: whether CUDA's kernels are right, fast, or there at all.
"""

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from ilm.model.language_model import load_language_model
from tests.tiny import save_language_model

NAME = "pretend"
_MAY_CROSS = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default, torch.ops.aten._local_scalar_dense.default}


class _There(torch.Tensor):
    """A tensor on the device; `here` is the one that holds its numbers."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> "_There":
        made = torch.Tensor._make_wrapper_subclass(
            cls, here.size(), strides=here.stride(), storage_offset=here.storage_offset(), dtype=here.dtype,
            device=torch.device(NAME, 0), requires_grad=here.requires_grad,
        )  # fmt: skip
        made.here = here
        return made

    def __repr__(self, **_: Any) -> str:
        return f"{self.here} on {NAME}"

    def tolist(self) -> Any:
        return self.here.detach().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
    there = [isinstance(tensor, _There) for tensor in given]
    of_cpu = [tensor for tensor, is_there in zip(given, there, strict=True) if not is_there and tensor.dim()]
    if of_cpu and any(there) and func not in _MAY_CROSS:  # numbers, as tensors without a dimension, may be of the CPU
        raise RuntimeError(f"{func}: tensors on two devices: {[(tuple(t.shape), t.device) for t in given]}")
    wanted = kwargs.get("device")
    result_there = any(there) if wanted is None else torch.device(wanted).type == NAME
    if func is torch.ops.aten.copy_.default:
        result_there = there[0]
    inner_args, inner_kwargs = tree_map(_here, (args, kwargs))
    if wanted is not None and result_there:
        inner_kwargs["device"] = torch.device("cpu")
    result = func(*inner_args, **inner_kwargs)
    by_number = {id(_here(tensor)): tensor for tensor in given}  # what was changed in place is what was given

    def back(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        same = by_number.get(id(value))
        return same if same is not None else _There(value) if result_there else value

    return tree_map(back, result)


def _here(value: Any) -> Any:
    return value.here if isinstance(value, _There) else value


@contextmanager
def process_with_gpu() -> Iterator[Callable[..., Any]]:
    """Gives what calls a function, with arguments, in a process of its own that has the device: torch must know of it
    before anything is differentiated there."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _register) as pool:
        yield lambda function, *args: pool.submit(function, *args).result()


@contextmanager
def pretend_gpu() -> Iterator[torch.device]:
    """The device, in that process. Outside of this, no tensor can be made there."""
    plain = torch.tensor

    def tensor(data: Any, *, device: torch.device | None = None, **options: Any) -> torch.Tensor:
        made = plain(data, **options)  # this one function goes past all modes
        return made if device is None else made.to(device)

    with mock.patch("torch.tensor", tensor), _Mode():
        yield torch.device(NAME, 0)


def _register() -> None:
    module = ModuleType(f"torch.{NAME}")
    module.__dict__.update(
        is_available=lambda: True, device_count=lambda: 1, current_device=lambda: 0, is_initialized=lambda: True,
        _is_in_bad_fork=lambda: False, manual_seed_all=lambda seed: None, _lazy_init=lambda: None,
        get_amp_supported_dtype=lambda: [torch.bfloat16],
    )  # fmt: skip
    _setup_privateuseone_for_python_backend(NAME, module)
    with tempfile.TemporaryDirectory() as folder:  # under the mode, transformers' first model would lack its buffers
        load_language_model(str(save_language_model(Path(folder) / "first")))
