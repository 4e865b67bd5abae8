"""Each of Modal's exceptions has its own message and next step."""

import inspect

import modal.exception
import pytest

from sftrun.errors import RemoteError
from sftrun.run.modal.wire_errors import NOT_OURS, WORDS, redacted, translated, translation

EXPORTED = {
    name: kind
    for name, kind in vars(modal.exception).items()
    if inspect.isclass(kind) and issubclass(kind, BaseException) and kind.__module__ == "modal.exception"
}
RAISABLE = {name: kind for name, kind in EXPORTED.items() if not NOT_OURS.match(name)}


def test_every_exception_that_modal_exports_is_in_the_table() -> None:
    assert set(RAISABLE) == set(WORDS)


@pytest.mark.parametrize("name", sorted(RAISABLE))
def test_each_says_what_it_was_told_and_one_thing_to_do(name: str) -> None:
    kind = RAISABLE[name]
    ours = translation(kind("the reason", "im-1") if name == "ImageBuildError" else kind("the reason"))
    assert "the reason" in ours.message
    assert ours.help


def test_a_subclass_that_is_new_gets_the_words_of_its_parent() -> None:
    class Newer(modal.exception.NotFoundError):
        pass

    assert translation(Newer("x")).message == translation(modal.exception.NotFoundError("x")).message


def test_what_is_raised_inside_comes_out_as_ours() -> None:
    with pytest.raises(RemoteError, match="Token"), translated():
        raise modal.exception.AuthError("Token missing.")
    with pytest.raises(RemoteError, match="reached"), translated():
        raise ConnectionRefusedError("refused")


def test_a_token_in_modal_s_words_is_not_repeated() -> None:
    text = redacted("bad token as-12345678secretsecret or hf_abcdSECRET")
    assert "secret" not in text
    assert "SECRET" not in text
