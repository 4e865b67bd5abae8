"""What a recipe says of how its rows become labels, as `facts` takes it: apart from the code that reads rows."""

from typing import NamedTuple

from sftrun.contract.choices import DataFormat


class Labelling(NamedTuple):
    """How rows become labels: the part of a recipe that decides it."""

    format: DataFormat
    instruction_template: str = "alpaca"
    max_length: int = 1024
    completion_only: bool = True
    assistant_only: bool = True


class Wish(NamedTuple):
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
