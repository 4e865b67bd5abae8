"""Weights sharded over processes (FSDP2): each keeps a share of every weight, and fetches a layer whole to compute it.

accelerate and torch do that, once the trainer stands and before the first answer: a base model that fits no GPU whole
could not answer before either.  What is saved is gathered, one weight at a time, in the form that one process writes:
so a run goes on with any number of processes, sharded or not.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from sftrun.job.failures import JobFailure


def set_up(accelerator: Accelerator, options: dict[str, Any]) -> None:
    """Make it FSDP on a CPU too, and add up gradients in 32 bits; `options`: the plugin's."""
    state = accelerator.state
    if accelerator.device.type == "cpu":
        # accelerate knows FSDP on accelerators alone, and would make DDP of it here without a word
        state.distributed_type, state.fsdp_plugin = DistributedType.FSDP, FullyShardedDataParallelPlugin(**options)
        if accelerator.mixed_precision != "no":
            state.fsdp_plugin.set_mixed_precision(accelerator.mixed_precision)
    policy = state.fsdp_plugin.mixed_precision_policy
    if policy is not None:
        # accelerate's would round what the model returns as well: the loss to three digits
        state.fsdp_plugin.mixed_precision_policy = replace(policy, reduce_dtype=torch.float32, output_dtype=None)


def begin(accelerator: Accelerator, model: Any) -> Any:
    """The model with its weights sharded.

    The optimiser is made of it afterwards: accelerate would find sharded weights by their address, which empty shares
    and weights that were never loaded don't have.
    """
    _send_buffers(model, accelerator.device)
    model = fsdp2_prepare_model(accelerator, model)
    if accelerator.device.type == "cuda":
        torch.cuda.empty_cache()  # whole weights were there, and NCCL takes its memory from outside of torch's
    register_fsdp_forward_method(model, "generate")
    plain: Callable[..., Any] = accelerator.prepare

    def prepare(*given: Any, **options: Any) -> Any:
        if given[0] is not model:
            return plain(*given, **options)
        if len(given) == 1:
            return model
        accelerator._models, accelerator._optimizers = [model], list(given[1:])  # a training begins by forgetting them
        return given

    accelerator.prepare = prepare
    return model


def fetch_head(model: Any) -> None:
    """The loss reads the head's weight and does not call it, so nobody else fetches it whole.

    TRL would gather it by itself, and each process would then train its share by the gradient of its own rows alone.
    """
    head = model.get_output_embeddings()
    if isinstance(head, FSDPModule):
        head.unshard()


def summary(model: nn.Module) -> str:
    """What is sharded, in a sentence."""
    weights = list(model.parameters())
    shares = [weight for weight in weights if isinstance(weight, DTensor)]
    processes = shares[0].device_mesh.size() if shares else 1
    return f"weights are sharded over {processes} processes (FSDP2): {len(shares)} of {len(weights)}"


def gather(model: nn.Module, keeps: bool) -> dict[str, Tensor]:
    """All that is trained, whole and on the CPU, in the process that `keeps` it; all processes must ask."""
    _reshard(model)
    named = ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
    return {name: whole for name, weight in named if (whole := _whole(weight.detach(), keeps)) is not None}


def gather_state(state: dict[str, Any], keeps: bool) -> dict[str, Any]:
    """An optimiser's state as one process would have it; all processes must ask."""
    moments = {
        index: {name: _whole(value, keeps) if isinstance(value, Tensor) else value for name, value in values.items()}
        for index, values in state["state"].items()
    }
    return {**state, "state": moments}


def restore(model: Any, folder: str | Path) -> None:
    """Fill the trained weights from a checkpoint; each process reads its own share."""
    _reshard(model)
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    missing = set(trained) - set(_fill(_saved_names(model, trained), folder))
    if missing:
        raise JobFailure("model", f"{folder} lacks {min(missing)}", "delete that checkpoint and run it again")


def restore_state(optimizer: Any, state: dict[str, Any]) -> None:
    """Give the optimiser a state that `gather_state` or one process has saved."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    moments = {
        index: {name: _share(value, weights[index]) for name, value in values.items()}
        for index, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": moments})


def _send_buffers(model: nn.Module, device: torch.device) -> None:
    """From the first process to those that loaded none; accelerate sends the weights alone."""
    modules = dict(model.named_modules())
    for path, buffer in list(model.named_buffers()):
        sent = torch.empty_like(buffer, device=device) if buffer.is_meta else buffer.to(device)
        torch.distributed.broadcast(sent, src=0)
        owner, _, name = path.rpartition(".")
        modules[owner]._buffers[name] = sent


def _reshard(model: nn.Module) -> None:
    """What an evaluation has left whole is a copy, and may be rounded."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _whole(value: Tensor, keeps: bool) -> Tensor | None:
    full = value.full_tensor() if isinstance(value, DTensor) else value
    return full.cpu() if keeps else None


def _share(value: Any, weight: Tensor) -> Any:
    """Of what has the weight's shape, the part that this process holds of the weight."""
    if not isinstance(weight, DTensor) or not isinstance(value, Tensor) or value.shape != weight.shape:
        return value
    mesh, placements = weight.device_mesh, weight.placements
    sizes, begins = compute_local_shape_and_global_offset(weight.shape, mesh, placements)
    mine = value[tuple(slice(begin, begin + size) for begin, size in zip(begins, sizes, strict=True))]
    mine = mine.to(weight.device, copy=True)  # a view would keep the whole
    return DTensor.from_local(mine, mesh, placements, run_check=False, shape=weight.shape, stride=weight.stride())


def _saved_names(model: Any, trained: Mapping[str, Tensor]) -> dict[str, tuple[str, Tensor]]:
    """Name in the file -> (name in the model, weight): PEFT leaves out the adapter's own name."""
    if not hasattr(model, "peft_config"):
        return {name: (name, weight) for name, weight in trained.items()}
    from peft import get_peft_model_state_dict

    names = {id(weight): name for name, weight in trained.items()}
    saved = get_peft_model_state_dict(model, state_dict=dict(trained))
    return {name: (names[id(weight)], weight) for name, weight in saved.items() if id(weight) in names}


def _fill(weights: Mapping[str, tuple[str, Tensor]], folder: str | Path) -> Iterable[str]:
    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file, torch.no_grad():
            for saved in set(file.keys()) & set(weights):
                name, weight = weights[saved]
                weight.copy_(_share(file.get_tensor(saved), weight))
                yield name
