"""What belongs together in `dataset`, `samples`, `tags` and `secrets`."""

import string
from collections.abc import Iterator
from pathlib import PurePosixPath

from sftrun.diagnostics import Diagnostic, Path
from sftrun.recipe import known
from sftrun.recipe.models import Recipe, Source
from sftrun.recipe.secrets import is_secret_name
from sftrun.recipe.words.names import nearest
from sftrun.rows.forms import NAMED_TEMPLATES

_PLACES = ("instruction", "input", "output")


def sources(recipe: Recipe) -> Iterator[Diagnostic]:
    yield from _source(recipe.dataset.train, ("dataset", "train"))
    if recipe.dataset.eval is not None:
        yield from _source(recipe.dataset.eval, ("dataset", "eval"))
    if recipe.dataset.eval is not None and recipe.dataset.eval_fraction is not None:
        yield Diagnostic(
            "R210",
            "`eval` and `eval_fraction` both say what to evaluate on",
            at=("dataset", "eval_fraction"),
            also=((("dataset", "eval"), "rows here"),),
            help="keep one of the two",
        )


def _source(source: Source, at: Path) -> Iterator[Diagnostic]:
    if source.path is not None and source.hub is not None:
        yield Diagnostic(
            "R211",
            "rows come from files or from the Hub, not from both",
            at=(*at, "hub"),
            also=(((*at, "path"), "files here"),),
            help="keep one of the two",
        )
    elif source.path is None and source.hub is None:
        message = f"`{'.'.join(map(str, at))}` names no rows"
        yield Diagnostic(
            "R211", message, at=at, on_key=True, help="write `path: data/train.jsonl`, or `hub: owner/name`"
        )
    elif source.path is not None:
        for key in ("config", "split", "revision"):
            if getattr(source, key) is not None:
                yield Diagnostic(
                    "R212",
                    f"`{key}` means nothing for files",
                    at=(*at, key),
                    on_key=True,
                    also=(((*at, "path"), "files here"),),
                    help="take it out, or name a data set with `hub`",
                )
    suffix = PurePosixPath(source.path or "").suffix
    if suffix and suffix.lower() not in known.DATA_SUFFIXES and not any(sign in suffix for sign in "*?["):
        message = f"`{suffix}` is no kind of data that can be read"
        help = f"use one of {', '.join(known.DATA_SUFFIXES)}"
        yield Diagnostic("D106", message, at=(*at, "path"), help=help)
    if source.path == "" or source.hub == "":
        key = "path" if source.path == "" else "hub"
        yield Diagnostic("R109", f"`{'.'.join(map(str, at))}.{key}` is empty", at=(*at, key), help="name the rows")


def evaluation(recipe: Recipe) -> Iterator[Diagnostic]:
    dataset, trainer = recipe.dataset, recipe.trainer
    if dataset.eval is not None or dataset.eval_fraction is not None:
        return
    for key in ("eval_steps", "per_device_eval_batch_size"):
        if getattr(trainer, key) is not None:
            yield Diagnostic(
                "R204",
                f"`{key}` is set, and there are no rows to evaluate on",
                at=("trainer", key),
                on_key=True,
                help="add `eval_fraction: 0.02` to `dataset`, or take it out",
            )


def losses(recipe: Recipe) -> Iterator[Diagnostic]:
    form, trainer = recipe.dataset.format, recipe.trainer
    wrong = (
        (trainer.assistant_only_loss is True and form not in ("auto", "messages"), "assistant_only_loss", "messages"),
        (trainer.completion_only_loss is True and form == "text", "completion_only_loss", "prompt_completion"),
    )
    for is_wrong, key, needed in wrong:
        if is_wrong:
            yield Diagnostic(
                "R215",
                f"`{key}: true` needs rows of {needed}, and the format is {form}",
                at=("trainer", key),
                also=((("dataset", "format"), f"{form} here"),),
                help=f"write `{key}: auto`",
            )


def template(recipe: Recipe) -> Iterator[Diagnostic]:
    dataset, at = recipe.dataset, ("dataset", "instruction_template")
    if dataset.format not in ("auto", "instruction") and "instruction_template" in dataset.model_fields_set:
        yield Diagnostic(
            "R216",
            f"`instruction_template` changes nothing for rows of {dataset.format}",
            at=at,
            on_key=True,
            also=((("dataset", "format"), f"{dataset.format} here"),),
            help="take it out, or write `format: instruction`",
        )
        return
    text = dataset.instruction_template
    if text in NAMED_TEMPLATES or ("{instruction}" in text and "{output}" in text):
        return
    near = nearest(text, NAMED_TEMPLATES) if "{" not in text else None
    missing = next(place for place in ("output", "instruction") if f"{{{place}}}" not in text)
    message = f"the template has no place for {{{missing}}}" if "{" in text else f"`{text[:40]}` is no template"
    help = f"did you mean `{near}`?" if near else "write alpaca, plain, or a text with {instruction} and {output}"
    yield Diagnostic("R119", message, at=at, help=help)


def samples(recipe: Recipe) -> Iterator[Diagnostic]:
    if recipe.samples.prompts:
        return
    for key in ("max_new_tokens", "temperature"):
        if key in recipe.samples.model_fields_set:
            yield Diagnostic(
                "R219",
                f"`{key}` changes nothing without prompts",
                at=("samples", key),
                on_key=True,
                help='add `prompts: ["…"]`, or take it out',
            )


def labels(recipe: Recipe) -> Iterator[Diagnostic]:
    for key, value in recipe.tags.items():
        for text, form, is_key in ((key, known.TAG_KEY, True), (value, known.TAG_VALUE, False)):
            if not form.fullmatch(text):
                what = "key" if is_key else "value"
                message = (
                    f"`{text[:70]}` is no {what} of a tag: letters, digits, dots, dashes and underscores, at most 63"
                )
                help = f"write `{_plain(text)}`" if _plain(text) else "write a word"
                yield Diagnostic("R121", message, at=("tags", key), on_key=is_key, help=help)
    for index, name in enumerate(recipe.secrets):
        if not known.OBJECT_NAME.fullmatch(name):
            message = f"`{name[:70]}` is no name of a Modal Secret"
            yield Diagnostic(
                "V109", message, at=("secrets", index), help="name the Secret as `modal secret list` shows it"
            )
        elif name in recipe.secrets[:index]:
            yield Diagnostic("R122", f"`{name}` stands twice", at=("secrets", index), help="take one out")


def environment(recipe: Recipe) -> Iterator[Diagnostic]:
    for key in recipe.compute.image.env:
        at = ("compute", "image", "env", key)
        if not known.ENV_NAME.fullmatch(key):
            message = f"`{key[:70]}` is no name of an environment variable"
            yield Diagnostic("R109", message, at=at, on_key=True, help="use letters, digits and underscores")
        elif is_secret_name(key):
            yield Diagnostic(
                "S103",
                f"`{key}` would stand in the clear in an image",
                at=at,
                on_key=True,
                help="put it into a Modal Secret and name that in `secrets`",
            )


def _plain(text: str) -> str:
    good = string.ascii_letters + string.digits + "._-"
    return "".join(letter if letter in good else "-" for letter in text).strip("-")[:63]


DATA = (sources, evaluation, losses, template, samples, labels, environment)
