"""Head and loss, forward and backward: ours over a frozen head against TRL's, on this machine's GPU.

`python benchmarks/frozen_head.py` prints a table.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from trl.trainer import utils

# tokens, width, vocabulary
SHAPES = {
    "Phi-3-mini, packed": (28_672, 3072, 32_064),
    "Phi-3-mini, 8 rows": (1_482, 3072, 32_064),
    "Qwen2.5-0.5B, packed": (32_768, 896, 151_936),
    "Qwen2.5-0.5B, 8 rows": (1_482, 896, 151_936),
    "Llama-3.2-1B, packed": (16_384, 2048, 128_256),
    "Qwen2.5-7B, packed": (8_192, 3584, 152_064),
}


def milliseconds(work: Callable[[], object], times: int = 8) -> float:
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(times):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / times * 1e3


def peak_gb(work: Callable[[], object]) -> float:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return (torch.cuda.max_memory_allocated() - before) / 1e9


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("needs a CUDA GPU")
    from sftrun.job.fast.head_kernels import FrozenHeadLogProbs

    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", "", sep="\n")
    print("| head | tokens | TRL, ms | GB | ours, ms | GB |", "|" + " --- |" * 6, sep="\n")
    for name, (tokens, width, vocabulary) in SHAPES.items():
        hidden = torch.randn(tokens, width, device="cuda", dtype=torch.bfloat16).requires_grad_()
        weight = torch.randn(vocabulary, width, device="cuda", dtype=torch.bfloat16) / width**0.5
        targets = torch.randint(0, vocabulary, (tokens,), device="cuda")
        size = utils._CHUNKED_LOGPROB_CHUNK_SIZE

        def trl() -> None:
            found = utils._ChunkedLogProbFunction.apply(hidden, weight, None, targets, 1.0, size, None, 1.0, ())[0]  # noqa: B023
            torch.autograd.grad(found.sum(), hidden)  # noqa: B023

        def ours() -> None:
            found = FrozenHeadLogProbs.apply(hidden, weight, targets)  # noqa: B023
            torch.autograd.grad(found.sum(), hidden)  # noqa: B023

        figures = " | ".join(f"{milliseconds(work):.2f} | {peak_gb(work):.2f}" for work in (trl, ours))
        print(f"| {name} | {tokens:,} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
