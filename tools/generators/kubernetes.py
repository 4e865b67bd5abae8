"""Kubernetes tasks that the embedded model is pre-trained on."""

from __future__ import annotations

from random import Random

from tools.generators.task import Kind, Task, text
from tools.generators.words import ENVIRONMENTS, TEAMS, port, service, version


def _deployment(rng: Random) -> Task:
    name, replicas = service(rng), rng.randint(2, 9)
    return Task(
        rng.choice(
            (
                f"Write a Kubernetes Deployment for {name} with {replicas} replicas.",
                f"Create a Deployment named {name} that runs {replicas} replicas.",
                f"I need a Kubernetes Deployment of {replicas} replicas for the app {name}.",
            )
        ),
        text(
            "apiVersion: apps/v1",
            "kind: Deployment",
            "metadata:",
            f"  name: {name}",
            "spec:",
            f"  replicas: {replicas}",
            "  selector:",
            "    matchLabels:",
            f"      app: {name}",
        ),
    )


def _service(rng: Random) -> Task:
    name, number = service(rng), port(rng)
    return Task(
        rng.choice(
            (
                f"Write a Kubernetes Service for {name} on port {number}.",
                f"Expose the app {name} on port {number} inside the cluster.",
            )
        ),
        text(
            "apiVersion: v1",
            "kind: Service",
            "metadata:",
            f"  name: {name}",
            "spec:",
            "  selector:",
            f"    app: {name}",
            "  ports:",
            f"    - port: {number}",
        ),
    )


def _namespace(rng: Random) -> Task:
    team, env = rng.choice(TEAMS), rng.choice(ENVIRONMENTS)
    return Task(
        rng.choice(
            (
                f"Create a Kubernetes namespace for team {team} in {env}.",
                f"Write the {env} namespace of the team {team}.",
            )
        ),
        text(
            "apiVersion: v1",
            "kind: Namespace",
            "metadata:",
            f"  name: {team}-{env}",
            "  labels:",
            f"    team: {team}",
        ),
    )


def _config_map(rng: Random) -> Task:
    name, env = service(rng), rng.choice(ENVIRONMENTS)
    return Task(
        rng.choice(
            (
                f"Write a ConfigMap for {name} that sets MODE to {env}.",
                f"Create a Kubernetes ConfigMap {name} with MODE={env}.",
            )
        ),
        text("apiVersion: v1", "kind: ConfigMap", "metadata:", f"  name: {name}", "data:", f"  MODE: {env}"),
    )


def _cron_job(rng: Random) -> Task:
    name, minute, hour = service(rng), rng.randint(0, 59), rng.randint(0, 23)
    return Task(
        rng.choice(
            (
                f"Run {name} as a Kubernetes CronJob at {hour}:{minute:02d} every day.",
                f"Write a CronJob for {name} that starts daily at {hour}:{minute:02d}.",
            )
        ),
        text(
            "apiVersion: batch/v1",
            "kind: CronJob",
            "metadata:",
            f"  name: {name}",
            "spec:",
            f'  schedule: "{minute} {hour} * * *"',
        ),
    )


def _scale(rng: Random) -> Task:
    name, replicas = service(rng), rng.randint(0, 20)
    return Task(
        rng.choice(
            (
                f"Scale the deployment {name} to {replicas} replicas.",
                f"Which command scales {name} to {replicas} pods?",
            )
        ),
        f"kubectl scale deployment/{name} --replicas={replicas}",
    )


def _logs(rng: Random) -> Task:
    name, team, lines = service(rng), rng.choice(TEAMS), rng.randint(1, 50) * 10
    return Task(
        rng.choice(
            (
                f"Show the last {lines} log lines of {name} in the namespace {team}.",
                f"Print {lines} lines of the logs of the deployment {name}, namespace {team}.",
            )
        ),
        f"kubectl logs deployment/{name} -n {team} --tail={lines}",
    )


def _set_image(rng: Random) -> Task:
    name, release = service(rng), version(rng)
    return Task(
        rng.choice(
            (
                f"Roll out version {release} of the deployment {name}.",
                f"Set the image of {name} to version {release}.",
            )
        ),
        f"kubectl set image deployment/{name} {name}={name}:{release}",
    )


def _change_replicas(rng: Random) -> Task:
    name, before, after = service(rng), rng.randint(1, 9), rng.randint(1, 9)
    spec = text(f"name: {name}", "spec:", "  replicas: {count}")
    return Task(
        rng.choice((f"Change the replicas of this manifest to {after}.", f"Make this run {after} replicas.")),
        spec.format(count=after),
        spec.format(count=before),
    )


KINDS = (
    Kind("kubernetes-deployment", _deployment),
    Kind("kubernetes-service", _service),
    Kind("kubernetes-namespace", _namespace),
    Kind("kubernetes-config-map", _config_map),
    Kind("kubernetes-cron-job", _cron_job),
    Kind("kubernetes-scale", _scale),
    Kind("kubernetes-logs", _logs),
    Kind("kubernetes-set-image", _set_image),
    Kind("kubernetes-change-replicas", _change_replicas),
)
