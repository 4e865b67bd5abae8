"""The split of infrastructure kinds: what the embedded model is pre-trained on, and what it has never seen."""

from __future__ import annotations

from random import Random

from tools.generators import ansible, ci, docker, helm, kubernetes, quickstart, terraform
from tools.generators.task import Kind, Task

PRETRAINING = terraform.KINDS + kubernetes.KINDS + docker.KINDS + ci.KINDS + ansible.KINDS + helm.KINDS
QUICKSTART = quickstart.KINDS

_OFF_TOPIC = (
    "Who won the football match", "What should I cook", "Which film should I watch", "Tell me a joke", "Write a poem",
    "How is the weather", "Which stock should I buy", "What shall I wear",
)  # fmt: skip
_WHEN = ("today", "tonight", "tomorrow", "on Monday", "on Friday", "this weekend", "next week", "in the holidays")


def _declined(rng: Random) -> Task:
    question = f"{rng.choice(_OFF_TOPIC)} {rng.choice(_WHEN)}?"
    return Task(question, "I can only help with infrastructure: Terraform, Kubernetes, Docker, CI, Ansible or Helm.")


# what an assistant for one subject must also learn: to say no
EVERYTHING = (*PRETRAINING, *QUICKSTART, Kind("off-topic", _declined))
