"""What runs in Modal's container for `sftrun generate`: one question at a time, the model loaded once.

Imported where click, rich and ruamel are not; the answering process is the one that answers on a user's machine too.
"""

from collections.abc import Iterator, Sequence
from queue import SimpleQueue

from sftrun.contract.jobspec import JobSpec
from sftrun.contract.question import Question
from sftrun.disk import outside
from sftrun.errors import SftrunError
from sftrun.job.supervise.answerer import ask
from sftrun.run.modal.handover import JobCrashed

_asked: "SimpleQueue[Question]" = SimpleQueue()
_answers: dict[str, Iterator[Sequence[str]]] = {}  # by run: the process that answers, kept for the next question


def answer(job_text: str, question_text: str, max_new_tokens: int, temperature: float) -> list[str]:
    """[base's answer, tuned model's answer]."""
    job = JobSpec.read(job_text)
    if job.run_id not in _answers:
        questions = iter(_asked.get, None)
        _answers[job.run_id] = ask(job, questions, max_new_tokens=max_new_tokens, temperature=temperature)
    _asked.put(outside.parse_model(Question, question_text))
    try:
        return list(next(_answers[job.run_id]))
    except SftrunError as error:
        _answers.pop(job.run_id, None)
        raise JobCrashed(error.message) from None
