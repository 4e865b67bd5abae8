"""Docker tasks that the embedded model is pre-trained on."""

from __future__ import annotations

from random import Random

from tools.generators.task import Kind, Task, text
from tools.generators.words import PATHS, port, service, version

_BASES = {
    "Flask": ("python:3.11-slim", "pip install -r requirements.txt", '["python", "app.py"]'),
    "Django": ("python:3.12-slim", "pip install -r requirements.txt", '["python", "manage.py", "runserver"]'),
    "Node": ("node:20-alpine", "npm ci", '["node", "server.js"]'),
    "Go": ("golang:1.22-alpine", "go build -o app", '["./app"]'),
    "Rails": ("ruby:3.3-slim", "bundle install", '["rails", "server"]'),
}


def _dockerfile(rng: Random) -> Task:
    framework, number = rng.choice(sorted(_BASES)), port(rng)
    image, install, command = _BASES[framework]
    return Task(
        rng.choice(
            (
                f"Write a Dockerfile for a {framework} app on port {number}.",
                f"Create a Dockerfile that serves a {framework} application on port {number}.",
            )
        ),
        text(f"FROM {image}", "WORKDIR /app", "COPY . .", f"RUN {install}", f"EXPOSE {number}", f"CMD {command}"),
    )


def _compose(rng: Random) -> Task:
    name, number = service(rng), port(rng)
    return Task(
        rng.choice(
            (
                f"Write a Compose service for {name} on port {number}.",
                f"Add {name} to docker-compose with port {number} published.",
            )
        ),
        text(
            "services:",
            f"  {name}:",
            f"    image: {name}:latest",
            "    ports:",
            f'      - "{number}:{number}"',
        ),
    )


def _run(rng: Random) -> Task:
    name, number, release = service(rng), port(rng), version(rng)
    return Task(
        rng.choice(
            (
                f"Run the image {name} version {release} with port {number} published.",
                f"Which docker command starts {name}:{release} on port {number}?",
            )
        ),
        f"docker run -d --name {name} -p {number}:{number} {name}:{release}",
    )


def _build(rng: Random) -> Task:
    name, release = service(rng), version(rng)
    return Task(
        rng.choice((f"Build the Docker image {name} version {release}.", f"Tag a Docker build as {name}:{release}.")),
        f"docker build -t {name}:{release} .",
    )


def _probe(rng: Random) -> Task:
    path, number = rng.choice(PATHS), port(rng)
    return Task(
        rng.choice(
            (
                f"Which curl command checks {path} on port {number}?",
                f"Ask the container for {path} on port {number} and fail on errors.",
            )
        ),
        f"curl -f http://localhost:{number}{path}",
    )


def _environment(rng: Random) -> Task:
    name, number = service(rng).upper().replace("-", "_"), port(rng)
    return Task(
        rng.choice(
            (
                f"Set {name}_PORT to {number} in a Dockerfile.",
                f"Write the Dockerfile line that sets {name}_PORT={number}.",
            )
        ),
        f"ENV {name}_PORT={number}",
    )


def _pin(rng: Random) -> Task:
    name, release = service(rng), version(rng)
    return Task(
        rng.choice((f"Pin this base image to version {release}.", f"Use version {release} in this Dockerfile.")),
        f"FROM {name}:{release}",
        f"FROM {name}:latest",
    )


KINDS = (
    Kind("docker-dockerfile", _dockerfile),
    Kind("docker-compose", _compose),
    Kind("docker-run", _run),
    Kind("docker-build", _build),
    Kind("docker-probe", _probe),
    Kind("docker-environment", _environment),
    Kind("docker-pin", _pin),
)
