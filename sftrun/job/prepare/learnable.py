"""Rows with labels, cut, as arrays: what a shard holds; the first row that can't be learnt from ends the run."""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from sftrun.job.failures import JobFailure
from sftrun.rows import ends
from sftrun.rows.labels import Labeller, Refused, count_learnt
from sftrun.rows.plain import Row

Ids: TypeAlias = "array[int]"  # 4 bytes a token; a list takes 8 and an object each


@dataclass
class Learnable:
    """Rows ready for the trainer; `dropped` are the indices of those in which nothing is learnt.

    `pieces` are those beyond the first of each row.  `ends` counts the tokens that learnt stretches end with, in the
    first `ends.ROWS` of them.
    """

    input_ids: list[Ids] = field(default_factory=list)
    labels: list[Ids] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    cut: int = 0
    pieces: int = 0
    ends: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def tokens(self) -> int:
        return sum(map(len, self.input_ids))

    @property
    def learnt_tokens(self) -> int:
        return sum(map(count_learnt, self.labels))


def label(rows: Sequence[Row], places: Sequence[str], labeller: Labeller) -> Learnable:
    """Tokenise, label and cut; a row in which nothing is learnt is left out."""
    result = Learnable()
    for index, made in enumerate(labeller.labels(rows)):
        if isinstance(made, Refused):
            help = "mend that row, or name a template that prints it in `dataset.chat_template`"
            raise JobFailure("data", f"{places[index]}: {made.message}", help)
        pieces = labeller.pieces(made)
        result.pieces += len(pieces) - 1
        result.cut += len(pieces) == 1 and len(made.ids) > labeller.max_length
        learnt = [piece for piece in pieces if count_learnt(piece.labels)]
        for piece in learnt:
            result.input_ids.append(array("i", piece.ids))
            result.labels.append(array("i", piece.labels))
            if len(result) <= ends.ROWS:
                result.ends.update(ends.of_row(piece, labeller.tokens))
        if not learnt:
            result.dropped.append(index)
    return result
