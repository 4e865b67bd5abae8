"""Attention of packed rows, ours against torch's own: `python benchmarks/attention.py [--sweep] [--json FILE]`.

bf16, causal, rows of the census' lengths (or all of one length), padding-free; one layer, forward and backward, the
median of many runs.  Also how far each is from the same in fp32.  `--sweep` times the kernels' tilings instead.
"""

import argparse
import itertools
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from throughput import row_lengths  # noqa: E402

HEADS = {"phi3-mini": (32, 32, 96), "0.5b": (14, 2, 64), "8b": (32, 8, 128)}  # heads, key heads, head
CENSUS, PARTS = 0, ("forward", "backward_query", "backward_key")


def bounds_of(tokens: int, length: int) -> Any:
    """Where rows begin, int32; `length` is what each row has, or CENSUS."""
    import torch

    lengths = row_lengths(tokens // 20, 1900) if length == CENSUS else [length] * (tokens // length)
    ends = [end for end in itertools.accumulate(lengths) if end < tokens]
    return torch.tensor([0, *ends, tokens], dtype=torch.int32, device="cuda")


def inputs(shape: str, tokens: int, dtype: Any) -> tuple[Any, Any, Any, Any]:
    """q and k of their own, v a part of the fused product, as a layer has them; and the output's gradient."""
    import torch

    heads, keys, head = HEADS[shape]
    torch.manual_seed(0)
    make: Callable[[int], Any] = lambda n: torch.randn(tokens, n, head, device="cuda", dtype=dtype)  # noqa: E731
    return make(heads), make(keys), make(heads + 2 * keys)[:, -keys:], make(heads)


def ours(q: Any, k: Any, v: Any, bounds: Any) -> Any:
    from sftrun.job.fast import attention

    return attention.by_rows((q, k, v), bounds, 0, None, None)


def torchs(q: Any, k: Any, v: Any, bounds: Any) -> Any:
    from sftrun.job.fast import attention

    longest = -(-int(bounds.diff().max()) // attention.LENGTH_STEP) * attention.LENGTH_STEP
    return lambda: attention.by_torch((q, k, v), bounds, longest, None, None)


def exact(q: Any, k: Any, v: Any, bounds: Any) -> Any:
    """In fp32, row by row."""
    import torch

    outs = []
    for first, last in itertools.pairwise(bounds.tolist()):
        if first < last:
            row = (x[first:last].transpose(0, 1)[None] for x in (q, k, v))
            out = torch.nn.functional.scaled_dot_product_attention(*row, is_causal=True, enable_gqa=True)
            outs.append(out[0].transpose(0, 1))
    return torch.cat(outs)


def compare(shape: str, tokens: int, length: int) -> dict[str, Any]:
    import torch
    from triton.testing import do_bench  # type: ignore[import-not-found]

    bounds = bounds_of(tokens, length)
    q, k, v, grad = inputs(shape, tokens, torch.bfloat16)
    found: dict[str, Any] = {"shape": shape, "tokens": tokens, "rows": len(bounds) - 1, "length": length or "census"}
    wanted = _with_gradients(lambda q, k, v: exact(q, k, v, bounds), [x.float() for x in (q, k, v)], grad.float())
    for name in ("torch", "ours"):
        leaves = [x.detach().requires_grad_() for x in (q, k, v)]
        run = torchs(*leaves, bounds) if name == "torch" else lambda leaves=leaves: ours(*leaves, bounds)
        forward = do_bench(run, warmup=20, rep=60, return_mode="median")
        out = run()
        backward = do_bench(
            lambda out=out: torch.autograd.grad(out, leaves, grad, retain_graph=True),  # noqa: B023
            warmup=20, rep=60, return_mode="median",
        )  # fmt: skip
        got = _with_gradients(lambda *_, run=run: run(), leaves, grad)
        errors = [float((a.float() - b).norm() / b.norm()) for a, b in zip(got, wanted, strict=True)]
        found[name] = {"forward": forward, "backward": backward, "error": max(errors)}
    return found


def _with_gradients(run: Callable[..., Any], leaves: list[Any], grad: Any) -> list[Any]:
    import torch

    leaves = [x if x.requires_grad else x.detach().requires_grad_() for x in leaves]
    out = run(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, grad)]


def tilings() -> Iterator[tuple[int, int, int, int, int]]:
    for tile, step, warps, stages, registers in itertools.product(
        (64, 128), (16, 32, 64), (4, 8), (2, 3, 4), (0, 128, 168)
    ):
        if (warps == 8) <= (tile == 128) and (registers == 0 or warps == 4):
            yield tile, step, warps, stages, registers


def sweep(shape: str, tokens: int, out: Path, compile_share: tuple[int, int] | None = None) -> None:
    """Milliseconds of each kernel by its tiling, a line each in `out`; what stands there is not tried again.

    Or only compile a share of them, for the cache that all processes have.
    """
    import torch
    from triton.testing import do_bench

    from sftrun.job.fast import row_kernels as kernels

    bounds = bounds_of(tokens, CENSUS)
    q, k, v, grad = inputs(shape, tokens, torch.bfloat16)
    scale, rows = q.shape[-1] ** -0.5, len(bounds) - 1
    out_states, lse = kernels.forward(q, k, v, bounds, scale, 0)
    delta = (grad.float() * out_states.float()).sum(-1).t().contiguous()
    made = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v)]
    scales = (scale * kernels.LOG2_E, scale)
    strides = kernels._strides
    calls = {
        "forward": (
            kernels._forward, q.shape[1],
            (q, k, v, made[0], lse, bounds, rows, tokens, scales[0], *strides(q, k, v, made[0])),
        ),
        "backward_query": (
            kernels._backward_query, q.shape[1],
            (q, k, v, out_states, grad, lse, delta, made[0], bounds, rows, tokens, *scales,
             *strides(q, k, v, out_states, grad, made[0])),
        ),
        "backward_key": (
            kernels._backward_key, k.shape[1],
            (q, k, v, grad, lse, delta, made[1], made[2], bounds, rows, tokens, *scales,
             *strides(q, k, v, grad, made[1])),
        ),
    }  # fmt: skip
    known = {line.split("\t")[0] for line in out.read_text().splitlines()} if out.exists() else set()
    wanted = list(itertools.product(PARTS, tilings()))
    if compile_share:
        wanted = wanted[compile_share[0] :: compile_share[1]]
    for part, chosen in wanted:
        name = f"{shape} {part} {chosen}"
        kernel, heads, arguments = calls[part]
        tiling = kernels.Tiling(*chosen)
        constants, grid = kernels._constants(q, k, 0, tiling), kernels._grid(heads, tokens, rows, tiling)
        try:
            if compile_share:
                kernel.warmup(*arguments, grid=(1,), **constants)
                continue
            if name in known:
                continue
            with out.open("a") as file:
                file.write(f"{name}\t")  # stands alone should this one end the process
            ms = do_bench(lambda: kernel[grid](*arguments, **constants), warmup=10, rep=30, return_mode="median")  # noqa: B023
        except Exception as problem:  # out of shared memory or registers: no tiling for this head
            ms = float("inf")
            if "illegal" in str(problem):
                raise
        with out.open("a") as file:
            file.write(f"{ms:.4f}\n")


def _sweep_all(shapes: list[str], workers: int, out: Path) -> None:
    """Compile in several processes; then time alone, in a new process wherever one has ended."""
    context = multiprocessing.get_context("spawn")
    out.unlink(missing_ok=True)
    with context.Pool(workers) as pool:
        pool.starmap(sweep, [(shape, 16384, out, (i, workers)) for shape in shapes for i in range(workers)])
    for shape in shapes:
        for _ in range(12):
            process = context.Process(target=sweep, args=(shape, 16384, out))
            process.start()
            process.join()
            if process.exitcode == 0:
                break
            with out.open("a") as file:
                file.write("nan\n")
    lines = [line.split("\t") for line in out.read_text().splitlines()]
    print("ended the process:", *(name for name, ms in lines if ms == "nan"), sep="\n  ")
    for shape, part in itertools.product(shapes, PARTS):
        here = sorted((float(ms), name) for name, ms in lines if name.startswith(f"{shape} {part} ") and ms != "nan")
        print(*(f"{ms:.3f} {name}" for ms, name in here[:6]), sep="\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=list(HEADS), choices=list(HEADS))
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--workers", type=int, default=14, help="processes that compile for --sweep")
    parser.add_argument("--out", type=Path, default=Path("sweep.tsv"), help="of --sweep")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        sys.exit("needs a CUDA GPU")
    if options.sweep:
        _sweep_all(options.shapes, options.workers, options.out)
    else:
        found = []
        for shape, (tokens, length) in itertools.product(
            options.shapes,
            ((1408, CENSUS), (16384, CENSUS), (28672, CENSUS), (16384, 512), (16384, 2048), (16384, 8192)),
        ):
            found.append(compare(shape, tokens, length))
            here = found[-1]
            cells = (f"{n} {here[n]['forward']:.3f} + {here[n]['backward']:.3f} ms" for n in ("torch", "ours"))
            errors = " ".join(f"{here[n]['error']:.4f}" for n in ("torch", "ours"))
            print(f"{shape:<10} {tokens:>6} tokens, rows of {here['length']:<7}", *cells, f"error {errors}", flush=True)
    if options.json and not options.sweep:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
