"""The quickstart's tasks: new forms made of known words, of kinds that the embedded model was never trained on.

Two are an invented company's own rules (names, tags), which no pre-training could hold: what fine-tuning is for.
The others are features of known tools that pre-training left out."""

from __future__ import annotations

from random import Random

from tools.generators.task import Kind, Task, text
from tools.generators.words import (
    BRANCHES,
    CHARTS,
    ENVIRONMENTS,
    PATHS,
    REGIONS,
    REPOSITORIES,
    SUBJECTS,
    TEAMS,
    port,
    service,
    version,
)

_SHORT_ENVIRONMENT = {"development": "dev", "staging": "stg", "production": "prd"}


def _house_name(rng: Random) -> Task:
    name, env, region = service(rng), rng.choice(ENVIRONMENTS), rng.choice(REGIONS)
    return Task(
        rng.choice(
            (
                f"Name the bucket of {name} by the house rule.",
                f"What is the house name for the bucket of {name}?",
            )
        ),
        f"acme-{_SHORT_ENVIRONMENT[env]}-{region}-{name}-s3",
        f"{env}, {region}",
    )


def _house_tags(rng: Random) -> Task:
    name, team, env = service(rng), rng.choice(TEAMS), rng.choice(ENVIRONMENTS)
    return Task(
        rng.choice(
            (
                f"Write the house tags for {name} of team {team} in {env}.",
                f"Which tags does {name} carry in {env}, owned by {team}?",
            )
        ),
        text(
            "tags = {",
            f'  "acme:app"  = "{name}"',
            f'  "acme:team" = "{team}"',
            f'  "acme:env"  = "{_SHORT_ENVIRONMENT[env]}"',
            "}",
        ),
    )


def _moved(rng: Random) -> Task:
    before, after = rng.sample(SUBJECTS, 2)
    return Task(
        rng.choice(
            (
                f"Rename the Terraform bucket {before} to {after} and keep its data.",
                f"The Terraform bucket {before} is now called {after}: tell Terraform.",
            )
        ),
        text("moved {", f"  from = aws_s3_bucket.{before}", f"  to   = aws_s3_bucket.{after}", "}"),
    )


def _disruption_budget(rng: Random) -> Task:
    name, count = service(rng), rng.randint(2, 9)
    return Task(
        rng.choice(
            (
                f"Keep at least {count} pods of {name} alive during node drains.",
                f"Write a PodDisruptionBudget for {name} with at least {count} pods.",
            )
        ),
        text(
            "apiVersion: policy/v1",
            "kind: PodDisruptionBudget",
            "metadata:",
            f"  name: {name}",
            "spec:",
            f"  minAvailable: {count}",
        ),
    )


def _health_check(rng: Random) -> Task:
    path, number, seconds = rng.choice(PATHS), port(rng), rng.randint(1, 12) * 5
    return Task(
        rng.choice(
            (
                f"Write a Docker health check for {path} on port {number} every {seconds} seconds.",
                f"Let Docker check {path} on port {number} each {seconds} seconds.",
            )
        ),
        f"HEALTHCHECK --interval={seconds}s CMD curl -f http://localhost:{number}{path}",
    )


def _concurrency(rng: Random) -> Task:
    name, branch = service(rng), rng.choice(BRANCHES)
    return Task(
        rng.choice(
            (
                f"Let only one run of {name} on {branch} go on at a time in GitHub Actions.",
                f"Cancel older GitHub Actions runs of {name} on {branch}.",
            )
        ),
        text("concurrency:", f"  group: {name}-{branch}", "  cancel-in-progress: true"),
    )


def _handler(rng: Random) -> Task:
    name = service(rng)
    state = rng.choice(("restarted", "reloaded"))
    return Task(
        rng.choice(
            (
                f"Write an Ansible handler after which {name} is {state}.",
                f"Add a handler: {name} has to be {state}.",
            )
        ),
        text("handlers:", f"  - name: {name} {state}", f"    service: name={name} state={state}"),
    )


def _helmfile(rng: Random) -> Task:
    name, chart, repo, release = service(rng), rng.choice(CHARTS), rng.choice(REPOSITORIES), version(rng)
    return Task(
        rng.choice(
            (
                f"Write a helmfile release {name} of {repo}/{chart} at {release}.",
                f"Add {repo}/{chart} {release} to the helmfile as {name}.",
            )
        ),
        text("releases:", f"  - name: {name}", f"    chart: {repo}/{chart}", f'    version: "{release}"'),
    )


KINDS = (
    Kind("house-name", _house_name),
    Kind("house-tags", _house_tags),
    Kind("terraform-moved", _moved),
    Kind("kubernetes-disruption-budget", _disruption_budget),
    Kind("docker-health-check", _health_check),
    Kind("ci-concurrency", _concurrency),
    Kind("ansible-handler", _handler),
    Kind("helm-helmfile", _helmfile),
)
