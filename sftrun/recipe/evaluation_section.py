"""The recipe's section `evaluation`: test rows, what answers are judged by, and what must be gained."""

from typing import Annotated

from pydantic import Field

from sftrun.contract.choices import MetricName
from sftrun.recipe.scalars import PositiveInt
from sftrun.strict import Strict


class Generation(Strict):
    """How test rows are answered."""

    max_new_tokens: PositiveInt = Field(256, description="Longest answer, in tokens.")
    temperature: Annotated[float, Field(ge=0)] = Field(0.0, description="Sampling temperature; 0 is greedy.")


class Gate(Strict):
    """What the tuned model must have gained; exit status 8 where it has not."""

    metric: MetricName = Field(description="One of `metrics`.")
    min_gain: Annotated[float, Field(ge=-100, le=100)] = Field(
        0.0, description="Least gain that must be shown: 0.02 is two points; below 0 it is what may be lost."
    )


class EvaluationData(Strict):
    """Rows to evaluate on: files, or a data set of the Hub."""

    path: str | None = Field(
        None, description="A file, folder or glob, as of `dataset.train`.", examples=["data/test.jsonl"]
    )
    hub: str | None = Field(None, description="A data set of the Hub.", examples=["openai/gsm8k"])
    config: str | None = Field(None, description="Configuration of the Hub's data set.")
    split: str | None = Field(None, description="Split of the Hub's data set.", examples=["test"])
    revision: str | None = Field(None, description="Branch, tag or commit of the Hub's data set.")


class Evaluation(Strict):
    """Base against tuned model on rows with known answers, right after training, on the same machine."""

    data: EvaluationData = Field(description="Test rows, of the same form as the training rows.")
    metrics: Annotated[tuple[MetricName, ...], Field(min_length=1)] = Field(
        ("exact_match",), description="What an answer is judged by.", examples=[["exact_match", "number"]]
    )
    by: str | None = Field(None, min_length=1, description="A column of the test rows: each of its values is a group.")
    max_examples: PositiveInt | None = Field(None, description="At most so many rows, the same for every run.")
    general: EvaluationData | None = Field(
        None, description="Rows of other things, on which the tuned model is to lose nothing."
    )
    neutral_text: bool = Field(
        False, description="Compare the loss on text that ships with the program: what was forgotten of language."
    )
    tolerance: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share by which a number may be off (`number`).", examples=[0.01]
    )
    pattern: str | None = Field(
        None, min_length=1, description="A regular expression, which `regex` looks for.", examples=["^I can only help"]
    )
    json_schema: str | None = Field(
        None, min_length=1, description="A file with the JSON Schema that answers are to match (`json`)."
    )
    generation: Generation = Field(Generation(), description="How test rows are answered.")
    gate: Gate | None = Field(None, description="What the tuned model must have gained; else exit status 8.")
