"""What base and tuned model answered: a line of `answers.jsonl`, and what an event of a run carries.

Each says what was asked too, so that whoever scores it needs neither the data nor the model.
"""

from typing import Final, Literal

from sftrun.strict import Strict

ModelName = Literal["base", "tuned"]
PartName = Literal["test", "general", "neutral"]
ANSWERS: Final = "answers.jsonl"


class Begun(Strict):
    """How many rows each model is to answer; `test_rows` are those that the verdict is about."""

    rows: int
    test_rows: int


class Answer(Strict):
    """One row, answered by one model.

    `text` is None of a row that was read and not asked (running text).  `is_ended`: the model stopped by itself.
    `loss` is the mean over the `learnt` tokens of the expected answer, of which the model would have chosen `right`;
    None where nobody asked for it.
    """

    model: ModelName
    part: PartName = "test"
    index: int
    group: str | None = None
    prompt: str = ""
    expected: str | None = None
    text: str | None = None
    tokens: int = 0
    is_ended: bool = False
    loss: float | None = None
    learnt: int = 0
    right: int = 0

    @property
    def key(self) -> tuple[ModelName, PartName, int]:
        """What it answers."""
        return self.model, self.part, self.index
