"""Keys and personal data in rows are found by kind; what only looks a little like them is not."""

import json

import pytest

from sftrun.facts.data.private import found

CARD, AMEX = "4111 1111 1111 1111", "3782-822463-10005"
KEY = "ghp_" + "Ab1" * 12


def kinds(text: str) -> list[str]:
    return [one.what for one in found(text.encode())]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"export TOKEN={KEY}", "a key of GitHub"),
        ("AKIA" + "ABCDEFGH12345678", "a key of AWS"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", "a private key"),
        ("write to Jane.Doe+x@mail.somewhere.co.uk, please", "an e-mail address"),
        (f"card {CARD}.", "a card number"),
        (f"card {AMEX}", "a card number"),
        (f"card {CARD.replace(' ', '')}", "a card number"),
    ],
)
def test_what_should_not_be_learnt_is_named(text: str, what: str) -> None:
    assert kinds(text) == [what]
    assert kinds(json.dumps([{"role": "user", "content": f"a\n{text}"}])) == [what]


@pytest.mark.parametrize(
    "text",
    [
        "user@example.com, root@localhost, git@github.com:me/it.git, checkout@v4.1.1, @app.get",
        "4111 1111 1111 1112",  # no checksum
        "0000 0000 0000 0000 and 1234567890123456",
        "4.111111111111111 and 41111111111111111111111",
        "2020 2021 2022 2023 2024",
        "a-very-long-name-of-something-that-is-no-key internationalization",
        "sk-learn, task-based, AKIAB, hf_model",
    ],
)
def test_what_is_none_is_not(text: str) -> None:
    assert kinds(text) == []


def test_several_kinds_are_each_said_once() -> None:
    assert kinds(f"{KEY} {KEY} a@b.cd e@f.gh {CARD}") == ["a key of GitHub", "an e-mail address", "a card number"]
