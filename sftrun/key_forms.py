"""What keys and tokens look like, by the service that they are for.

Only forms with a prefix of their own are listed: a bare run of hex digits is as often a commit.
"""

import re
from collections.abc import Iterator

_FORMS = (
    ("Hugging Face", r"hf_[A-Za-z0-9]{20,}"),
    ("Anthropic", r"sk-ant-[A-Za-z0-9_-]{20,}"),
    ("OpenAI", r"sk-(?:proj-|svcacct-)?[A-Za-z0-9_-]{20,}"),
    ("AWS", r"(?:AKIA|ASIA)[0-9A-Z]{16}"),
    ("GitHub", r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}"),
    ("GitLab", r"glpat-[A-Za-z0-9_-]{20,}"),
    ("Modal", r"(?:ak|as)-[A-Za-z0-9]{20,}"),
    ("Slack", r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("Google", r"AIza[0-9A-Za-z_-]{35}"),
    ("Weights & Biases", r"wandb_v1_[A-Za-z0-9_]{20,}"),
    ("npm", r"npm_[A-Za-z0-9]{36}"),
    ("PyPI", r"pypi-[A-Za-z0-9_-]{50,}"),
    ("Replicate", r"r8_[A-Za-z0-9]{30,}"),
    ("Groq", r"gsk_[A-Za-z0-9]{40,}"),
    ("NVIDIA", r"nvapi-[A-Za-z0-9_-]{30,}"),
    ("Stripe", r"[rs]k_live_[A-Za-z0-9]{20,}"),
    ("a private key", r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"),
    ("a JSON Web Token", r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
)
_ANY = r"(?<![A-Za-z0-9_-])(?:" + "|".join(f"({form})" for _, form in _FORMS) + ")"
# the least that every form holds: most texts are done with this one search
_HINT = re.compile(
    "hf_|sk-|AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|a[ks]-|xox|AIza|wandb_v1_|npm_|pypi-|r8_|gsk_|nvapi-|k_live_|BEGIN|eyJ"
)


def find(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, whose) of everything that looks like a key."""
    if _HINT.search(text) is None:
        return
    for match in re.finditer(_ANY, text):
        index = next(number for number, group in enumerate(match.groups()) if group is not None)
        yield match.start(), match.end(), _FORMS[index][0]
