"""What a recipe says of how its rows become labels, as `facts` takes it."""

from dataclasses import dataclass

from sftrun.contract.jobspec import DataFormat
from sftrun.facts.data_labels import Labelling


@dataclass(frozen=True)
class Wish:
    """What a recipe says of its data: `auto` is decided by the first row's columns, None by the form."""

    format: DataFormat | None = None
    instruction_template: str = "alpaca"
    max_length: int = 1024
    completion_only: bool | None = None
    assistant_only: bool | None = None

    def labelling(self, form: DataFormat) -> Labelling:
        """With everything decided."""
        return Labelling(
            form,
            self.instruction_template,
            self.max_length,
            self.completion_only is not False,
            self.assistant_only is not False,
        )
