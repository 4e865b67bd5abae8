"""Pre-trains the embedded model `builtin:tiny`: a Qwen2 of two million parameters that answers infrastructure tasks.

It exists so that the quickstart is a true QLoRA run with no Hub, no GPU and no waiting.  It reads only text of the
pre-training kinds, so that what the quickstart teaches is new to it.  Same seed and machine: the same weights.

    python -m tools.pretrain_tiny                        # a quarter of an hour on two idle cores
    python -m tools.pretrain_tiny --device cuda          # two minutes: where the committed weights come from
    python -m tools.pretrain_tiny --steps 200 --out /tmp/tiny
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import torch
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from tools import alpaca, tiny_tokenizer
from tools.generators import drills
from tools.generators.infra import PRETRAINING
from tools.generators.task import Task, any_tasks

MAX_LENGTH_TOKENS = 2048
VOCABULARY_SIZE = 1536
BATCH_ROWS = 32
BATCHES_SORTED_TOGETHER = 16
CHAT_SHARE = 0.15
PROMPT_WEIGHT = 0.1  # prompts hold random names that nobody can predict: learn their form, not their noise
PEAK_LEARNING_RATE = 3e-3
WARMUP_STEPS = 100
INITIALIZER_RANGE = 0.02  # a small start and a high rate: copying, which comes late, comes soonest so


@dataclass(frozen=True)
class Row:
    """One text as token ids; the first `prompt_length` of them are the question."""

    ids: list[int]
    prompt_length: int


def main() -> None:
    """Tokenizer, model, training, a look at what it learnt, files."""
    options = _options()
    torch.manual_seed(options.seed)
    started = time.perf_counter()
    tokenizer = tiny_tokenizer.train(_tokenizer_texts(options.seed), VOCABULARY_SIZE, MAX_LENGTH_TOKENS)
    model = _new_model(tokenizer).to(options.device)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens in the vocabulary", flush=True)
    _train(model, tokenizer, options.steps, options.seed)
    _save(model, tokenizer, options.out)
    print(f"exact match on unseen pre-training tasks: {_exact_match(model, tokenizer, options.seed + 1):.0%}")
    print(f"{options.out}: {time.perf_counter() - started:.0f} s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000, help="optimiser steps of 32 rows (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=3407, help="decides data and first weights (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("sftrun/builtin/tiny"), help="folder (default: %(default)s)")
    return parser.parse_args()


def _tasks(seed: int) -> Iterator[Task]:
    rng = Random(seed)
    streams = any_tasks(PRETRAINING, seed), any_tasks(drills.KINDS, seed)
    while True:
        yield next(streams[rng.random() < drills.SHARE])


def _tokenizer_texts(seed: int) -> Iterator[str]:
    for task in islice(_tasks(seed), 20_000):
        yield alpaca.prompt(task) + task.output
        yield "user\nassistant\nsystem\n"


def _new_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    # every linear layer is a multiple of 64 each way: NF4 quantises blocks of 64 weights
    config = Qwen2Config(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=MAX_LENGTH_TOKENS,
        tie_word_embeddings=True,
        initializer_range=INITIALIZER_RANGE,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config)


def _train(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, steps: int, seed: int) -> None:
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=PEAK_LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.05, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_LEARNING_RATE, total_steps=steps, pct_start=min(0.3, WARMUP_STEPS / steps), cycle_momentum=False
    )
    started = time.perf_counter()
    for step, rows in enumerate(islice(_batches(tokenizer, seed), steps), start=1):
        loss = _loss(model, rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        if step % max(1, steps // 30) == 0:
            spent = time.perf_counter() - started
            left = spent / step * (steps - step)
            print(f"step {step}/{steps}  loss {loss.item():.4f}  {spent:.0f} s, {left:.0f} s left", flush=True)


def _loss(model: Qwen2ForCausalLM, rows: list[Row]) -> torch.Tensor:
    """The weighted mean of the tokens' cross-entropy; answers weigh 1, prompts PROMPT_WEIGHT."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    weights = torch.zeros(len(rows), longest)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        weights[index, : len(row.ids)] = 1.0
        weights[index, : row.prompt_length] = PROMPT_WEIGHT
    # rows are padded on the right: causal attention never looks there, so no mask is needed
    ids, weights = ids.to(model.device), weights.to(model.device)
    with torch.autocast(model.device.type, torch.bfloat16):
        logits = model(input_ids=ids, use_cache=False).logits
    losses = cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none")
    wanted = weights[:, 1:].flatten()
    return (losses * wanted).sum() / wanted.sum()


def _batches(tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[list[Row]]:
    """Batches of rows of like length, which wastes little on padding, in random order."""
    rng = Random(seed)
    tasks = _tasks(seed)
    while True:
        rows = [_row(task, tokenizer, rng) for task in islice(tasks, BATCH_ROWS * BATCHES_SORTED_TOGETHER)]
        rows.sort(key=lambda row: len(row.ids))
        starts = list(range(0, len(rows), BATCH_ROWS))
        rng.shuffle(starts)
        for start in starts:
            yield rows[start : start + BATCH_ROWS]


def _row(task: Task, tokenizer: PreTrainedTokenizerFast, rng: Random) -> Row:
    if rng.random() < CHAT_SHARE:
        messages = alpaca.messages(task)
        question = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(messages, tokenize=False)
        answer = str(whole)[len(str(question)) :]
    else:
        question = alpaca.prompt(task)
        answer = task.output + tiny_tokenizer.END
    prompt_ids = tokenizer(str(question))["input_ids"]
    return Row(prompt_ids + tokenizer(answer)["input_ids"], len(prompt_ids))


def _save(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(tiny_tokenizer.CHAT_END)],
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _exact_match(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> float:
    tasks = list(islice(any_tasks(PRETRAINING, seed), 200))
    batch = tokenizer([alpaca.prompt(task) for task in tasks], return_tensors="pt", padding=True, padding_side="left")
    batch = batch.to(model.device)
    answers = model.eval().generate(**batch, max_new_tokens=100, do_sample=False)[:, batch["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
    right = [bool(text == task.output) for text, task in zip(texts, tasks, strict=True)]
    return sum(right) / len(right)


if __name__ == "__main__":
    main()
