"""Recipe -> what it says of how its rows become tokens and labels; a chat template's text is a fact, and not here."""

from sftrun.contract.row_rules import RowRules
from sftrun.recipe.models import Recipe
from sftrun.recipe.sources import Source

# fields of `trainer.extra` that rows obey, and not TRL: by then there is nothing left to decide
OBEYED = ("dataset_text_field", "eos_token", "pad_token", "truncation_mode")


def row_rules(recipe: Recipe, chat_template: str | None = None) -> RowRules:
    """`chat_template` is the text that `dataset.chat_template` names."""
    dataset, trainer = recipe.dataset, recipe.trainer
    extra = {key: value for key, value in trainer.extra.items() if key in OBEYED and isinstance(value, str)}
    return RowRules(
        format=dataset.format,
        text_column=extra.get("dataset_text_field", "text"),
        instruction_template=dataset.instruction_template,
        chat_template=chat_template,
        eos_token=dataset.eos_token or extra.get("eos_token"),
        add_tokens=dataset.add_tokens,
        chunk=dataset.chunk,
        chunk_overlap=dataset.chunk_overlap,
        pad_token=dataset.pad_token or extra.get("pad_token"),
        completion_only=None if trainer.completion_only_loss == "auto" else trainer.completion_only_loss,
        assistant_only=None if trainer.assistant_only_loss == "auto" else trainer.assistant_only_loss,
        truncation_mode="keep_end" if extra.get("truncation_mode") == "keep_end" else "keep_start",
    )


def source_rules(rules: RowRules, source: Source) -> RowRules:
    """The same for the rows of one source."""
    columns = {} if source.columns is None else source.columns.named()
    return rules.of_source(source.format, columns, source.roles)
