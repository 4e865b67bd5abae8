"""Texts that look like keys and tokens: found anywhere in a file, comments too, and never printed in full."""

import re

from sftrun.key_forms import find

_SECRET_NAME = re.compile(r"(^|_)(API_?KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|ACCESS_KEY|PRIVATE_KEY)(_ID)?$")


def mask(text: str) -> str:
    """The text with each key starred out behind its first four letters; its length stays, so that columns hold."""
    for start, end, _ in find(text):
        text = text[: start + 4] + "*" * (end - start - 4) + text[end:]
    return text


def is_secret_name(variable: str) -> bool:
    """Whether an environment variable of this name is meant to carry a secret."""
    return _SECRET_NAME.search(variable.upper()) is not None
