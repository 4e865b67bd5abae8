"""Helm tasks that the embedded model is pre-trained on."""

from __future__ import annotations

from random import Random

from tools.generators.task import Kind, Task, text
from tools.generators.words import CHARTS, ENVIRONMENTS, REPOSITORIES, TEAMS, service, version


def _install(rng: Random) -> Task:
    name, chart, repo, team = service(rng), rng.choice(CHARTS), rng.choice(REPOSITORIES), rng.choice(TEAMS)
    return Task(
        rng.choice(
            (
                f"Install the chart {repo}/{chart} as {name} in the namespace {team}.",
                f"Which helm command installs {repo}/{chart} under the name {name}, namespace {team}?",
            )
        ),
        f"helm install {name} {repo}/{chart} -n {team}",
    )


def _upgrade(rng: Random) -> Task:
    name, chart, repo, release = service(rng), rng.choice(CHARTS), rng.choice(REPOSITORIES), version(rng)
    return Task(
        rng.choice(
            (
                f"Upgrade the release {name} to version {release} of {repo}/{chart}.",
                f"Move {name} to {repo}/{chart} {release} with helm.",
            )
        ),
        f"helm upgrade {name} {repo}/{chart} --version {release}",
    )


def _values(rng: Random) -> Task:
    name, release, replicas = service(rng), version(rng), rng.randint(1, 9)
    return Task(
        rng.choice(
            (
                f"Write Helm values for {name} {release} with {replicas} replicas.",
                f"Create a values.yaml: image {name}, tag {release}, {replicas} replicas.",
            )
        ),
        text(f"replicaCount: {replicas}", "image:", f"  repository: {name}", f'  tag: "{release}"'),
    )


def _chart(rng: Random) -> Task:
    name, release = service(rng), version(rng)
    return Task(
        rng.choice(
            (
                f"Write a Chart.yaml for {name} version {release}.",
                f"Create the Helm chart metadata of {name} {release}.",
            )
        ),
        text("apiVersion: v2", f"name: {name}", f"version: {release}"),
    )


def _dependency(rng: Random) -> Task:
    chart, release, repo = rng.choice(CHARTS), version(rng), rng.choice(REPOSITORIES)
    return Task(
        rng.choice(
            (
                f"Add {chart} {release} from {repo} to the dependencies of a Helm chart.",
                f"Write a Helm dependency on {chart} version {release} from the repository {repo}.",
            )
        ),
        text("dependencies:", f"  - name: {chart}", f"    version: {release}", f'    repository: "@{repo}"'),
    )


def _rollback(rng: Random) -> Task:
    name, revision, env = service(rng), rng.randint(1, 30), rng.choice(ENVIRONMENTS)
    return Task(
        rng.choice(
            (
                f"Roll the release {name} in {env} back to revision {revision}.",
                f"Which helm command returns {name} to revision {revision} in {env}?",
            )
        ),
        f"helm rollback {name} {revision} -n {env}",
    )


KINDS = (
    Kind("helm-install", _install),
    Kind("helm-upgrade", _upgrade),
    Kind("helm-values", _values),
    Kind("helm-chart", _chart),
    Kind("helm-dependency", _dependency),
    Kind("helm-rollback", _rollback),
)
