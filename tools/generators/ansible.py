"""Ansible tasks that the embedded model is pre-trained on."""

from __future__ import annotations

from random import Random

from tools.generators.task import Kind, Task, text
from tools.generators.words import ENVIRONMENTS, PACKAGES, TEAMS, service


def _package(rng: Random) -> Task:
    name, state = rng.choice(PACKAGES), rng.choice(("present", "latest", "absent"))
    return Task(
        rng.choice(
            (
                f"Write an Ansible task that makes the package {name} {state}.",
                f"Use Ansible's apt module: {name} must be {state}.",
            )
        ),
        text(f"- name: Package {name}", "  ansible.builtin.apt:", f"    name: {name}", f"    state: {state}"),
    )


def _daemon(rng: Random) -> Task:
    name, state = service(rng), rng.choice(("started", "stopped", "restarted", "reloaded"))
    return Task(
        rng.choice(
            (
                f"Write an Ansible task so that the service {name} is {state}.",
                f"With Ansible, the daemon {name} must be {state}.",
            )
        ),
        text(f"- name: Service {name}", "  ansible.builtin.service:", f"    name: {name}", f"    state: {state}"),
    )


def _copy(rng: Random) -> Task:
    name, mode = service(rng), rng.choice(("0600", "0640", "0644", "0755"))
    return Task(
        rng.choice(
            (
                f"Copy {name}.conf to /etc with mode {mode} using Ansible.",
                f"Write an Ansible task that puts {name}.conf into /etc, mode {mode}.",
            )
        ),
        text(
            f"- name: Copy {name}.conf",
            "  ansible.builtin.copy:",
            f"    src: {name}.conf",
            f"    dest: /etc/{name}.conf",
            f'    mode: "{mode}"',
        ),
    )


def _user(rng: Random) -> Task:
    name, group = rng.choice(TEAMS), service(rng)
    return Task(
        rng.choice(
            (
                f"Add the user {name} to the group {group} with Ansible.",
                f"Write an Ansible task for the user {name} in the group {group}.",
            )
        ),
        text(f"- name: User {name}", "  ansible.builtin.user:", f"    name: {name}", f"    groups: {group}"),
    )


def _inventory(rng: Random) -> Task:
    name, count = service(rng), rng.randint(2, 4)
    hosts = [f"{name}-{number}" for number in range(1, count + 1)]
    return Task(
        rng.choice(
            (
                f"Write an Ansible inventory group {name} with {count} hosts.",
                f"List {count} hosts of the inventory group {name}.",
            )
        ),
        text(f"[{name}]", *hosts),
    )


def _playbook(rng: Random) -> Task:
    name, env = service(rng), rng.choice(ENVIRONMENTS)
    return Task(
        rng.choice(
            (
                f"Run the playbook {name}.yml against {env}.",
                f"Which command runs the Ansible playbook {name}.yml in {env}?",
            )
        ),
        f"ansible-playbook -i inventories/{env} {name}.yml",
    )


KINDS = (
    Kind("ansible-package", _package),
    Kind("ansible-daemon", _daemon),
    Kind("ansible-copy", _copy),
    Kind("ansible-user", _user),
    Kind("ansible-inventory", _inventory),
    Kind("ansible-playbook", _playbook),
)
