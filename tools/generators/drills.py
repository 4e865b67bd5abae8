"""Dense exercises in copying, which pre-training mixes in: without them a small model learns forms but not names.

A task's answer holds one or two names among many fixed words; here every word of the answer must be looked up in the
question.  Half of the names are invented, so that no list of them can be learnt by heart.  The glossary's words pass by
here too: a word that the model has never written it can hardly learn to write from an adapter."""

from __future__ import annotations

from random import Random

from tools.generators.task import Kind, Task
from tools.generators.words import ENVIRONMENTS, GLOSSARY, PACKAGES, REGIONS, ROLES, SUBJECTS, TEAMS

SHARE = 0.3  # of all pre-training rows
_KNOWN = (*SUBJECTS, *GLOSSARY, *ROLES, *TEAMS, *ENVIRONMENTS, *PACKAGES, *REGIONS)
_CONSONANTS, _VOWELS = "bcdfghjklmnprstvwz", "aeiou"
_JOINTS = {
    "dashes": "-",
    "slashes": "/",
    "dots": ".",
    "commas": ", ",
    "colons": ":",
    "underscores": "_",
    "line breaks": "\n",
}


def _join(rng: Random) -> Task:
    names = [_name(rng) for _ in range(rng.randint(3, 12))]
    joint = rng.choice(sorted(_JOINTS))
    return Task(
        rng.choice(
            (
                f"Join with {joint}: {' '.join(names)}",
                f"Put {joint} between {', '.join(names)}.",
            )
        ),
        _JOINTS[joint].join(names),
    )


def _pairs(rng: Random) -> Task:
    keys = rng.sample(SUBJECTS, rng.randint(2, 6))
    pairs = {key: _name(rng) for key in keys}
    asked = rng.sample(keys, rng.randint(1, len(keys)))
    return Task(
        f"Read the values of {', '.join(asked)}.",
        "\n".join(f'{key} = "{pairs[key]}"' for key in asked),
        "\n".join(f"{key}: {value}" for key, value in pairs.items()),
    )


def _name(rng: Random) -> str:
    draw = rng.random()
    if draw < 0.5:
        return rng.choice(_KNOWN)
    if draw < 0.75:
        return str(rng.randint(0, 10 ** rng.randint(1, 5)))
    return "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(rng.randint(1, 3)))


KINDS = (Kind("drill-join", _join), Kind("drill-pairs", _pairs))
