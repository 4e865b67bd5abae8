"""The quickstart as a bare TRL script: the baseline that our runner is compared with.

Same data, model, settings and seed as `recipes/quickstart.yaml`, written out with the libraries alone, so that whatever
the runner costs or changes shows as a difference.  Nothing of sftrun is imported; prints one JSON object at the end.

    OMP_NUM_THREADS=2 python benchmarks/bare_quickstart.py
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()  # before the imports: they are part of what a user waits for

import argparse  # noqa: E402
import json  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import bitsandbytes  # noqa: E402
import torch  # noqa: E402
import trl.trainer.utils  # noqa: E402
from datasets import Dataset  # noqa: E402
from peft import LoraConfig  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    TrainerCallback,
)
from trl import SFTConfig, SFTTrainer  # noqa: E402

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "sftrun" / "builtin" / "tiny"
DATA = ROOT / "recipes" / "data"

PREAMBLE = (
    "Below is an instruction that describes a task{more}. "
    "Write a response that appropriately completes the request.\n\n"
)
MORE = ", paired with an input that provides further context"


class PlainLogProbabilities:
    """What TRL 1.15's Triton kernel computes, in torch: its SFTTrainer has no other loss, and a CPU has no Triton."""

    @staticmethod
    def apply(
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        temperature: float,
        _chunk_size: int,
        softcap: float | None,
        scale: float,
        _outputs: tuple[str, ...],
    ) -> tuple[torch.Tensor, ...]:
        """Log-probability of each target, entropy, log of the sum of squared probabilities, mean logit, is it first."""
        logits = torch.nn.functional.linear(hidden, weight, bias).float() * scale
        if softcap is not None:
            logits = softcap * torch.tanh(logits / softcap)
        logits = logits / temperature
        every = logits.log_softmax(-1)
        chosen = every.gather(-1, targets[:, None])[:, 0]
        known = every.detach()
        entropy = -(known.exp() * known).sum(-1)
        squares = torch.logsumexp(2 * known, -1)
        return chosen, entropy, squares, logits.detach().mean(-1), logits.detach().argmax(-1) == targets


class StepTimes(TrainerCallback):  # type: ignore[misc]
    """Seconds of each optimiser step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.perf_counter() - self._began)


def main() -> None:
    """Load, look, train, look again."""
    options = _options()
    if trl.trainer.utils._ChunkedLogProbFunction is None:
        trl.trainer.utils._ChunkedLogProbFunction = PlainLogProbabilities
    seconds = {"imports": time.perf_counter() - STARTED}
    clock = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    held_out = _read(DATA / "quickstart-eval.jsonl")
    times = StepTimes()
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(options, tokenizer, held_out, folder, times)
        seconds["load"], clock = _lap(clock)
        before = _look(trainer, tokenizer, held_out)
        seconds["before"], clock = _lap(clock)
        result = trainer.train()
        seconds["train"], clock = _lap(clock)
        after = _look(trainer, tokenizer, held_out)
        seconds["after"], clock = _lap(clock)
    seconds["total"] = time.perf_counter() - STARTED
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    report = {"seconds": seconds, "step_seconds": times.seconds, "losses": losses, "train_loss": result.training_loss}
    print(json.dumps({**report, "before": before, "after": after}, indent=None if options.compact else 1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL, help="model folder (default: the embedded one)")
    parser.add_argument("--epochs", type=float, default=6, help="passes over the data (default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="peak (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="rows a step (default: %(default)s)")
    parser.add_argument("--rank", type=int, default=16, help="of the adapter (default: %(default)s)")
    parser.add_argument(
        "--alpha", type=float, default=64, help="the adapter counts alpha / rank (default: %(default)s)"
    )
    parser.add_argument("--dtype", default="float32", help="of the computation (default: %(default)s)")
    parser.add_argument("--full-precision", action="store_true", help="no NF4: to see what quantising costs")
    parser.add_argument("--compact", action="store_true", help="one line of JSON")
    return parser.parse_args()


def _trainer(
    options: argparse.Namespace, tokenizer: Any, held_out: list[dict[str, str]], folder: str, times: StepTimes
) -> SFTTrainer:
    dtype = getattr(torch, options.dtype)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    model = AutoModelForCausalLM.from_pretrained(
        options.model,
        quantization_config=None if options.full_precision else quantization,
        dtype=dtype,
        attn_implementation="sdpa",
        device_map={"": "cpu"},
    )
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            # else the first evaluation repacks the weights for inference, in a form that has no backward pass
            module.support_avx512bf16_for_cpu = False
    lora = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        task_type="CAUSAL_LM",
    )
    return SFTTrainer(
        model=model,
        args=_arguments(options, folder),
        train_dataset=Dataset.from_list(_read(DATA / "quickstart-train.jsonl")),
        eval_dataset=Dataset.from_list(held_out),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[times],
    )


def _arguments(options: argparse.Namespace, folder: str) -> SFTConfig:
    return SFTConfig(
        output_dir=folder,
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch,
        per_device_eval_batch_size=40,
        learning_rate=options.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        weight_decay=0.0,
        max_length=256,
        packing=False,
        completion_only_loss=True,
        gradient_checkpointing=False,
        bf16=options.dtype == "bfloat16",
        optim="adamw_torch",
        logging_steps=10,
        save_strategy="no",
        report_to="none",
        seed=3407,
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def _read(path: Path) -> list[dict[str, str]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{"prompt": _prompt(row["instruction"], row["input"]), "completion": row["output"]} for row in rows]


def _prompt(instruction: str, context: str) -> str:
    block = f"### Input:\n{context}\n\n" if context else ""
    preamble = PREAMBLE.format(more=MORE if context else "")
    return f"{preamble}### Instruction:\n{instruction}\n\n{block}### Response:\n"


def _look(trainer: SFTTrainer, tokenizer: Any, rows: list[dict[str, str]]) -> dict[str, Any]:
    """Held-out loss, the share of greedy answers that are right to the letter, and the first of them."""
    loss = trainer.evaluate()["eval_loss"]
    answers = _answers(trainer.model, tokenizer, [row["prompt"] for row in rows])
    right = [answer == row["completion"] for answer, row in zip(answers, rows, strict=True)]
    return {"eval_loss": loss, "exact_match": sum(right) / len(right), "answers": answers[:8]}


def _answers(model: Any, tokenizer: Any, prompts: list[str]) -> list[str]:
    batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
    model.eval()
    with torch.no_grad():
        output = model.generate(**batch, max_new_tokens=64, do_sample=False)
    texts: list[str] = tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


def _lap(since: float) -> tuple[float, float]:
    now = time.perf_counter()
    return now - since, now


if __name__ == "__main__":
    main()
