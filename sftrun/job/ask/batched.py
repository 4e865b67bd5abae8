"""Batches of questions -> answers and losses.  Greedy answers of a batch are those of its rows alone, token for token.

Prompts of like length stand in one batch, padded on the left; which rows share a batch never depends on what was
answered before, so that a resumed evaluation says what an uninterrupted one would have said.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import torch

from sftrun.contract.answers import Answer, ModelName
from sftrun.job.ask.questions import Question, batches
from sftrun.job.train import samples
from sftrun.rows.labels import IGNORED, Labelled

MOST_ROWS: Final = 256
MOST_ROWS_CPU: Final = 32
CACHE_SHARE: Final = 0.15  # of a GPU's memory, for keys and values
LOSS_LOGITS: Final = 2**27  # values of logits at once: half a gigabyte in 32 bits
Key = tuple[str, int]


class Settings(NamedTuple):
    """How answers are made.  `processes` share the batches; with sharded weights all do all of them together."""

    max_new_tokens: int
    temperature: float
    ends: Sequence[int]
    is_sharded: bool = False
    rank: int = 0
    processes: int = 1


class Asker:
    """Asks one model all questions, a batch at a time."""

    def __init__(self, model: Any, tokenizer: Any, settings: Settings, between: Callable[[], None]) -> None:
        self.model, self.tokenizer, self.settings, self.between = model, tokenizer, settings, between

    def answers(self, name: ModelName, questions: Sequence[Question], done: frozenset[Key]) -> Iterator[Answer]:
        """Those that are not `done`; with several processes each hears all of them."""
        planned = batches(questions, [self._length(one) for one in questions], self._most_rows(questions))
        left = [[questions[at] for at in batch] for batch in planned]
        left = [batch for batch in left if any((one.part, one.number) not in done for one in batch)]
        for found in self._shared(name, left):
            yield from (answer for answer in found if (answer.part, answer.index) not in done)

    def _shared(self, name: ModelName, left: Sequence[Sequence[Question]]) -> Iterator[list[Answer]]:
        settings = self.settings
        if settings.processes == 1 or settings.is_sharded:
            for batch in left:
                yield self._asked(name, batch)
            return
        import torch.distributed as group

        for begin in range(0, len(left), settings.processes):
            own = left[begin : begin + settings.processes][settings.rank : settings.rank + 1]
            mine = [self._asked(name, batch) for batch in own]
            heard: list[list[list[Answer]]] = [[] for _ in range(settings.processes)]
            group.all_gather_object(heard, mine)
            yield from (answers for each in heard for answers in each)

    def _asked(self, name: ModelName, batch: Sequence[Question]) -> list[Answer]:
        found = [question.answer(name) for question in batch]
        if batch[0].text is not None:
            said = self._said(batch)
            updates = [{"text": one.text, "tokens": one.tokens, "is_ended": one.is_ended} for one in said]
            found = [answer.model_copy(update=update) for answer, update in zip(found, updates, strict=True)]
        scored = self._scored([question.labelled for question in batch])
        return [answer.model_copy(update=update) for answer, update in zip(found, scored, strict=True)]

    def _said(self, batch: Sequence[Question]) -> list[samples.Said]:
        """Halves where the memory does not hold all of it."""
        try:
            return self._generated(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
        torch.cuda.empty_cache()
        middle = len(batch) // 2
        return self._said(batch[:middle]) + self._said(batch[middle:])

    def _generated(self, batch: Sequence[Question]) -> list[samples.Said]:
        settings = self.settings
        return samples.generate_batch(
            self.model,
            self.tokenizer,
            [question.text or "" for question in batch],
            settings.ends,
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            has_special_tokens=batch[0].has_specials,
            is_sharded=settings.is_sharded,
            seed=batch[0].number,
            each_token=self.between,
        )

    def _scored(self, rows: Sequence[Labelled | None]) -> list[dict[str, Any]]:
        """`loss`, `learnt` and `right` of each row that has labels."""
        found: list[dict[str, Any]] = [{} for _ in rows]
        places = [at for at, row in enumerate(rows) if row is not None and len(row.ids) > 1]
        vocabulary = int(self.model.config.get_text_config().vocab_size)
        while places:
            longest = max(len(row.ids) for at in places if (row := rows[at]) is not None)
            count = max(1, LOSS_LOGITS // (longest * vocabulary))
            part, places = places[:count], places[count:]
            self.between()
            told = self._losses([row for at in part if (row := rows[at]) is not None])
            for at, update in zip(part, told, strict=True):
                found[at] = update
        return found

    def _losses(self, rows: Sequence[Labelled]) -> list[dict[str, Any]]:
        device = self.model.device
        longest = max(len(row.ids) for row in rows)
        ids = torch.tensor([[*row.ids, *[0] * (longest - len(row.ids))] for row in rows], device=device)
        labels = torch.tensor([[*row.labels, *[IGNORED] * (longest - len(row.ids))] for row in rows], device=device)
        mask = torch.tensor([[1] * len(row.ids) + [0] * (longest - len(row.ids)) for row in rows], device=device)
        with samples.resting(self.model):
            logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
            wanted, counts = labels[:, 1:], labels[:, 1:] != IGNORED
            losses = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="none"
            ).view_as(wanted)
            right = (logits.argmax(-1) == wanted) & counts
        sums = zip(losses.sum(1).tolist(), counts.sum(1).tolist(), right.sum(1).tolist(), strict=True)
        return [
            {"loss": loss / learnt, "learnt": learnt, "right": hits} if learnt else {} for loss, learnt, hits in sums
        ]

    def _length(self, question: Question) -> int:
        if question.text is None:
            return len(question.labelled.ids) if question.labelled else 0
        return len(samples.ids_of(self.tokenizer, question.text, question.has_specials))

    def _most_rows(self, questions: Sequence[Question]) -> int:
        """As many rows as keys and values have room for."""
        if self.model.device.type != "cuda":
            return MOST_ROWS_CPU
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        token = 2 * config.num_hidden_layers * heads * width * 2
        longest = max((self._length(one) for one in questions if one.text is not None), default=1)
        memory = torch.cuda.get_device_properties(self.model.device).total_memory
        room = CACHE_SHARE * memory / (token * (longest + self.settings.max_new_tokens))
        return max(1, min(MOST_ROWS, int(room)))
