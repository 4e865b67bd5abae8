"""What decides each token and label of a row, beside the data and the tokenizer: one value for the checks and the job.

Apart from `jobspec`, so that a check need not load its models.
"""

from collections.abc import Mapping
from typing import Literal

from sftrun.contract.choices import DataFormat
from sftrun.strict import Strict


class RowRules(Strict):
    """How rows become tokens and labels; `auto` is the form by the first row's columns (`rows.forms.detect`).

    `chat_template` is a template's text in the place of the model's own.  `eos_token` and `pad_token` of None are the
    tokenizer's, to which `add_tokens` are added.  `completion_only` is of a prompt and its completion,
    `assistant_only` of messages; None is true.
    `chunk`: a text longer than `max_length` is taken in pieces, each of which begins `chunk_overlap` tokens before the
    end of the one before it.
    `columns` says where a form's fields stand in the rows of one source, `roles` who speaks (`rows.columns`).
    """

    format: DataFormat | Literal["auto"] = "auto"
    text_column: str = "text"
    instruction_template: str = "alpaca"
    chat_template: str | None = None
    eos_token: str | None = None
    pad_token: str | None = None
    add_tokens: tuple[str, ...] = ()
    completion_only: bool | None = None
    assistant_only: bool | None = None
    chunk: bool = False
    chunk_overlap: int = 0
    truncation_mode: Literal["keep_start", "keep_end"] = "keep_start"
    columns: dict[str, str] = {}
    roles: dict[str, str] = {}

    def of_source(
        self, form: DataFormat | Literal["auto"] | None, columns: Mapping[str, str], roles: Mapping[str, str]
    ) -> "RowRules":
        """As they hold for the rows of one source; what it does not say is as it is."""
        said = {"format": form or self.format, "columns": dict(columns), "roles": dict(roles)}
        return self.model_copy(update=said | ({"text_column": "text"} if "text" in columns else {}))
