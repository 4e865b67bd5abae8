"""The one pydantic base: strict, frozen, no unknown keys.

Strict, so that `"16"` is never taken for 16; frozen, so that a value can be hashed, shared and trusted;
`extra="forbid"`, so that a key that nobody reads is an error and not a silence.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Base of every value that crosses a module's border."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """The value of its JSON, where a kind knows them of an older release's too.  Raises a ValueError."""
        return cls.model_validate_json(text)
