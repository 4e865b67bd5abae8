"""What this process' machine can do for a step, by torch alone: no library that takes seconds to load is asked."""

import importlib.util
import inspect
import os

import torch

from sftrun.job.obey.orders import Here
from sftrun.step.cuda_graphs import ROW_CAPABILITY

try:  # torch 2.10 and newer
    from torch.nn.attention.varlen import varlen_attn as varlen_attn
except ImportError:
    varlen_attn = None

VARLEN_CAPABILITY = (8, 0)
_PARAMETERS = frozenset(inspect.signature(varlen_attn).parameters) if varlen_attn is not None else frozenset()


def here() -> Here:
    """This process' machine."""
    has_gpu = torch.cuda.is_available()
    return Here(has_gpu, has_gpu and has_varlen("cuda"), int(os.environ.get("WORLD_SIZE", "1")))


def has_varlen(device: torch.device | str) -> bool:
    """Whether torch's kernel runs there: CUDA from Ampere on, and a torch that has `window_size`."""
    device = torch.device(device)
    if device.type != "cuda" or varlen_attn is None or not takes("window_size"):
        return False
    return torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= VARLEN_CAPABILITY


def has_row_kernels() -> bool:
    """Whether our own kernels run here: Hopper and later, where they were measured, and Triton."""
    if importlib.util.find_spec("triton") is None or not torch.cuda.is_available():
        return False
    return torch.cuda.get_device_capability() >= ROW_CAPABILITY


def takes(name: str) -> bool:
    """Whether this torch's variable-length attention has such an argument."""
    return name in _PARAMETERS
