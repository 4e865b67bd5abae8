"""Which token ends what the assistant says: one of the tokenizer's own that a learnt stretch ends with.

White space may stand behind it (`<|im_end|>` and a line's end).  A stretch that ends with a plain word has none: it was
cut, or the template has no such token.  A model stops where it was taught to, so these tokens stand beside its weights.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from sftrun.rows import twins
from sftrun.rows.labels import IGNORED, Labelled
from sftrun.rows.template import Template, Unrenderable
from sftrun.rows.tokenizer import Tokens

ROWS = 100  # of each piece of work: a template ends all turns alike
_SHARE = 0.05
_MARK = re.compile(r"<[|｜][^|｜<>\s]+[|｜]>|<(?:start|end)_of_turn>|<end_of_utterance>")
_PLAIN = ("zephyr", "tulu")  # their `<|user|>` is plain text by design
_PROBE = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})


def of_row(row: Labelled, tokens: Tokens) -> Iterator[str]:
    """The end of each learnt stretch that has one, as text; the row is cut already."""
    for is_learnt, stretch in groupby(zip(row.ids, row.labels, strict=True), lambda pair: pair[1] != IGNORED):
        found = _last([token for token, _ in stretch], tokens) if is_learnt else None
        if found is not None:
            yield found


def usual(counted: Counter[str]) -> tuple[str, ...]:
    """Those that end stretches as a rule, the commonest first; what somebody typed once is none."""
    enough = _SHARE * counted.total()
    return tuple(token for token, times in counted.most_common() if times >= enough)


def unknown_marks(template: Template, tokens: Tokens) -> tuple[str, ...]:
    """What a template prints around turns as if it were tokens, and the tokenizer has none for: learnt as letters."""
    if template.text in map(twins.shipped, _PLAIN):
        return ()
    try:
        text = template.render(_PROBE)
    except Unrenderable:
        return ()
    marks = dict.fromkeys(_MARK.findall(text))
    return tuple(mark for mark in marks if tokens.tokenizer.token_to_id(mark) is None)


def _last(ids: Sequence[int], tokens: Tokens) -> str | None:
    for token in reversed(ids):
        text = tokens.added.get(token) or tokens.tokenizer.decode([token], skip_special_tokens=False)
        if text.strip():
            return text if token in tokens.added else None
    return None
