"""The small types that the recipe's sections share."""

from typing import Annotated, Literal

from pydantic import Field

Auto = Literal["auto"]
Scalar = bool | int | float | str | None
PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
