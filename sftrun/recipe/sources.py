"""Sources of rows: where one lies, how its columns are called, and several together.  A part of `models`."""

from typing import Annotated, Any

from pydantic import Field

from sftrun.contract.choices import DataFormat, Role
from sftrun.recipe.scalars import Auto, PositiveInt, Text
from sftrun.strict import Strict


class Columns(Strict):
    """Which of the source's columns is which part of a row; `a.b` is the field b of the column a."""

    messages: Text | None = Field(None, description="A conversation.", examples=["conversations"])
    role: Text | None = Field(None, description="In a turn: who speaks.", examples=["from"])
    content: Text | None = Field(None, description="In a turn: what is said.", examples=["value"])
    tools: Text | None = Field(None, description="The tools of a conversation.", examples=["functions"])
    prompt: Text | None = Field(None, description="A prompt.", examples=["source"])
    completion: Text | None = Field(None, description="What follows the prompt.", examples=["target"])
    instruction: Text | None = Field(None, description="A task or question.", examples=["question"])
    input: Text | None = Field(None, description="What the task is about.", examples=["context"])
    output: Text | None = Field(None, description="The answer.", examples=["answer"])
    system: Text | None = Field(None, description="A system prompt.", examples=["system_prompt"])
    history: Text | None = Field(None, description="What was said before.", examples=["history"])
    text: Text | None = Field(None, description="A text.", examples=["body"])

    def named(self) -> dict[str, str]:
        """Our name -> the column's, of those that are written."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class Source(Strict):
    """Where rows come from: files, or a data set of the Hub."""

    path: str | None = Field(
        None,
        description="A file, folder or glob: relative to this file, or absolute (on Modal below a mount of `volumes`).",
        examples=["data/train.jsonl", "/data/dataset/train.jsonl", "data/*.parquet"],
    )
    hub: str | None = Field(None, description="A data set of the Hub.", examples=["tatsu-lab/alpaca"])
    config: str | None = Field(None, description="Configuration of the Hub's data set.")
    split: str | None = Field(None, description="Split of the Hub's data set.", examples=["train", "test"])
    revision: str | None = Field(None, description="Branch, tag or commit of the Hub's data set.")
    format: DataFormat | Auto | None = Field(
        None, description="Form of this source's rows, where it is not `dataset.format`."
    )
    columns: Columns | None = Field(
        None, description="Which column is which part of a row, where they have other names."
    )
    roles: dict[str, Role] = Field(
        {},
        description="Who speaks in a turn, where the rows have other words for it.",
        examples=[{"human": "user", "gpt": "assistant"}],
    )
    weight: Annotated[float, Field(gt=0, le=1000)] = Field(
        1.0,
        description="How often an epoch takes each of its rows: 2 is twice, 0.5 half of them, drawn by `trainer.seed`.",
        examples=[2, 0.5],
    )
    max_examples: PositiveInt | None = Field(None, description="At most so many rows, the first ones.")
    num_examples: PositiveInt | None = Field(None, description="Rows, as declared; used where they can't be counted.")
    mean_tokens: Annotated[float, Field(gt=0, le=10_000_000)] | None = Field(
        None, description="Mean tokens a row, as declared; used where they can't be counted."
    )


def is_one(value: Any) -> bool:
    """Whether what stands at `eval` is one source, and not sources by name: a source's own keys can't be names."""
    return not isinstance(value, dict) or not value or not set(value).isdisjoint(Source.model_fields)


Several = Annotated[tuple[Source, ...], Field(min_length=1)]
SetName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]
Named = dict[SetName, Source]
OneOrNamed = Source | Named  # by its keys (`is_one`): no mapping is both
