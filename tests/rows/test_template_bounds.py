"""A chat template is a program that comes with a model: one that grows without end, or is none, is refused in words."""

import pytest

from sftrun.rows.template import Template, Unrenderable

TALK = [{"role": "user", "content": "a"}]


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'a' * 10**9 }}",
        "{{ 10**9 * 'a' }}",
        "{{ 10 ** (10 ** 9) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% set n = namespace(x='a' * 1000) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{{ range(10**9) }}",
        "{% for m in messages %}",
        "{{ }",
        "{% generation %}a",
    ],
)
def test_it_is_refused(text: str) -> None:
    for render in (Template(text, {}).render, Template(text, {}).render_marked):
        with pytest.raises(Unrenderable):
            render(TALK)


def test_what_templates_do_is_left_alone() -> None:
    text = "{% for i in range(3) %}{{ '=' * 3 + messages[0]['content'] }}{{ 2 * 3 + 1 }}{% endfor %}"
    for _ in range(3):
        assert Template(text, {}).render(TALK) == "===a7" * 3
