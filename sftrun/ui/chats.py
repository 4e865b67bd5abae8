"""A chat with a run's models: one process that has loaded them, for as long as somebody asks.

Only one run's models are loaded at a time: a second chat ends the first, and silence ends any.
"""

import queue
import threading
from collections.abc import Iterator
from typing import Final

from sftrun.contract.question import Exchange, Question
from sftrun.errors import SftrunError
from sftrun.run.execute import must_own_output
from sftrun.ui.watched import Watched

IDLE_SECONDS: Final = 600.0
Answer = Exchange | SftrunError


class Chat:
    """The models of one run, in a thread that hands questions to them."""

    def __init__(self, run: Watched) -> None:
        must_own_output(run.folder, run.backend, help="`sftrun apply` its recipe to its end first")
        self._run = run
        self._questions: queue.Queue[Question | None] = queue.Queue()
        self._answers: queue.Queue[Answer] = queue.Queue()
        self._asked: Question | None = None
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        return self._thread.is_alive()

    @property
    def run_id(self) -> str:
        return self._run.folder.id

    def ask(self, question: Question) -> Exchange:
        """Both answers; raises SftrunError where the models can't be asked."""
        self._questions.put(question)
        answer = self._answers.get()
        if isinstance(answer, SftrunError):
            raise answer
        return answer

    def close(self) -> None:
        """End the process; a question under way is answered first."""
        self._questions.put(None)
        self._thread.join()

    def _answer(self) -> None:
        longest = self._run.job.samples.max_new_tokens
        try:
            answers = self._run.backend.answer(
                self._run.folder, self._asked_so_far(), max_new_tokens=longest, temperature=0.0
            )
            for base, tuned in answers:
                assert self._asked is not None
                self._answers.put(Exchange(prompt=self._asked.prompt, base=base, tuned=tuned))
        except SftrunError as error:
            self._answers.put(error)

    def _asked_so_far(self) -> Iterator[Question]:
        while True:
            try:
                self._asked = self._questions.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                return
            if self._asked is None:
                return
            yield self._asked


class Chats:
    """At most one chat; questions wait for each other."""

    def __init__(self) -> None:
        self._chat: Chat | None = None
        self._lock = threading.Lock()

    def ask(self, run: Watched, question: Question) -> Exchange:
        """Both answers, from models that are loaded first where they are not."""
        with self._lock:
            if self._chat is None or not self._chat.is_open or self._chat.run_id != run.folder.id:
                self._end()
                self._chat = Chat(run)
            return self._chat.ask(question)

    def close(self) -> None:
        """End the chat that there is."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._chat is not None:
            self._chat.close()
        self._chat = None
