"""CI tasks (GitHub Actions, GitLab CI) that the embedded model is pre-trained on."""

from __future__ import annotations

from random import Random

from tools.generators.task import Kind, Task, text
from tools.generators.words import BRANCHES, ENVIRONMENTS, service

_TESTS = {"Python": "pytest", "Node": "npm test", "Go": "go test ./...", "Rust": "cargo test", "Ruby": "rake test"}


def _on_push(rng: Random) -> Task:
    language, branch = rng.choice(sorted(_TESTS)), rng.choice(BRANCHES)
    return Task(
        rng.choice(
            (
                f"Write a GitHub Actions workflow that tests a {language} project on pushes to {branch}.",
                f"Run the {language} tests in GitHub Actions when {branch} is pushed.",
            )
        ),
        text(
            "on:",
            "  push:",
            f"    branches: [{branch}]",
            "jobs:",
            "  test:",
            "    runs-on: ubuntu-latest",
            "    steps:",
            "      - uses: actions/checkout@v4",
            f"      - run: {_TESTS[language]}",
        ),
    )


def _gitlab_job(rng: Random) -> Task:
    name, language, branch = service(rng), rng.choice(sorted(_TESTS)), rng.choice(BRANCHES)
    return Task(
        rng.choice(
            (
                f"Write a GitLab CI job {name} that runs the {language} tests on {branch}.",
                f"Add a GitLab job named {name} for {language} tests, only on {branch}.",
            )
        ),
        text(f"{name}:", "  stage: test", "  script:", f"    - {_TESTS[language]}", "  only:", f"    - {branch}"),
    )


def _schedule(rng: Random) -> Task:
    minute, hour = rng.randint(0, 59), rng.randint(0, 23)
    return Task(
        rng.choice(
            (
                f"Start a GitHub Actions workflow every day at {hour}:{minute:02d}.",
                f"Write the GitHub Actions trigger for a daily run at {hour}:{minute:02d}.",
            )
        ),
        text("on:", "  schedule:", f'    - cron: "{minute} {hour} * * *"'),
    )


def _deploy_step(rng: Random) -> Task:
    name, env = service(rng), rng.choice(ENVIRONMENTS)
    return Task(
        rng.choice(
            (
                f"Write a GitHub Actions step that deploys {name} to {env}.",
                f"Add a step that deploys {name} in {env}.",
            )
        ),
        text(f"- name: Deploy {name}", f"  run: ./deploy.sh {name} {env}"),
    )


def _matrix(rng: Random) -> Task:
    first = rng.randint(9, 11)
    versions = [f"3.{minor}" for minor in range(first, first + rng.randint(2, 4))]
    job = service(rng)
    return Task(
        rng.choice(
            (
                f"Run the job {job} on Python {', '.join(versions)}.",
                f"Write a matrix for the job {job} over Python {', '.join(versions)}.",
            )
        ),
        text(f"{job}:", "  strategy:", "    matrix:", f"      python: [{', '.join(versions)}]"),
    )


def _artifact(rng: Random) -> Task:
    name, folder = service(rng), rng.choice(("dist", "build", "out", "coverage", "site"))
    return Task(
        rng.choice(
            (
                f"Upload the folder {folder} as the artifact {name}.",
                f"Keep {folder} as a GitHub Actions artifact named {name}.",
            )
        ),
        text("- uses: actions/upload-artifact@v4", "  with:", f"    name: {name}", f"    path: {folder}"),
    )


KINDS = (
    Kind("ci-on-push", _on_push),
    Kind("ci-gitlab-job", _gitlab_job),
    Kind("ci-schedule", _schedule),
    Kind("ci-deploy-step", _deploy_step),
    Kind("ci-matrix", _matrix),
    Kind("ci-artifact", _artifact),
)
