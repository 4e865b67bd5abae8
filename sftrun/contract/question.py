"""What `sftrun generate` asks a run's models: a prompt, what was said before it, and under which system turn.

Each question carries all of it, so that whoever answers need not remember: a container may be another one by then.
"""

from sftrun.strict import Strict


class Exchange(Strict):
    """A prompt of before, and what base and tuned model each have answered."""

    prompt: str
    base: str
    tuned: str


class Question(Strict):
    """`system` of None: as the rows had it.  `before` counts where the rows are conversations."""

    prompt: str
    system: str | None = None
    before: tuple[Exchange, ...] = ()
