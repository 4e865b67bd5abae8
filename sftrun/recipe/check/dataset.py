"""What belongs together in `dataset`, `samples`, `tags` and `secrets`."""

import string
from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath

from sftrun.contract.choices import DataFormat
from sftrun.diagnostics import Diagnostic, Path
from sftrun.recipe import known
from sftrun.recipe.labelling import row_rules
from sftrun.recipe.models import Recipe
from sftrun.recipe.secrets import is_secret_name
from sftrun.recipe.sources import Source
from sftrun.recipe.words.names import nearest
from sftrun.rows.forms import CHAT, NAMED_TEMPLATES, contradictions, is_chat
from sftrun.rows.raw.find import SUFFIXES, kind

_ROWS = ("embed_tokens", "lm_head")


def sources(recipe: Recipe) -> Iterator[Diagnostic]:
    for at, source in recipe.dataset.sources.items():
        yield from _source(source, at)
    yield from _eval_names(recipe)
    yield from _eval_weights(recipe)
    if recipe.dataset.eval is not None and recipe.dataset.eval_fraction is not None:
        yield Diagnostic(
            "R210",
            "`eval` and `eval_fraction` both say what to evaluate on",
            at=("dataset", "eval_fraction"),
            also=((("dataset", "eval"), "rows here"),),
            help="keep one of the two",
        )


def _eval_names(recipe: Recipe) -> Iterator[Diagnostic]:
    """A misspelt key of a source would be the name of a set."""
    names = [at for at in recipe.dataset.eval_sources if len(at) > 2]
    for at in names if len(names) == 1 else ():
        near = nearest(str(at[-1]), Source.model_fields)
        if near is not None:
            message = f"`{at[-1]}` would be the name of a set of validation rows"
            yield Diagnostic("R260", message, at=at, on_key=True, help=f"write `{near}`, or choose another name")


def _eval_weights(recipe: Recipe) -> Iterator[Diagnostic]:
    for at, source in recipe.dataset.eval_sources.items():
        if source.weight != 1:
            message = "`weight` means nothing for validation rows: each is taken once"
            yield Diagnostic("R260", message, at=(*at, "weight"), on_key=True, help="take it out")


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
    if suffix and kind(source.path or "") is None and not any(sign in suffix for sign in "*?["):
        message = f"`{suffix}` is no kind of data that can be read"
        help = f"use one of {', '.join(SUFFIXES)}"
        yield Diagnostic("D106", message, at=(*at, "path"), help=help)
    if source.path == "" or source.hub == "":
        key = "path" if source.path == "" else "hub"
        yield Diagnostic("R109", f"`{'.'.join(map(str, at))}.{key}` is empty", at=(*at, key), help="name the rows")


def evaluation(recipe: Recipe) -> Iterator[Diagnostic]:
    dataset, trainer = recipe.dataset, recipe.trainer
    if dataset.eval is not None or dataset.eval_fraction is not None:
        return
    for key in ("eval_steps", "evals_per_epoch", "early_stopping_patience", "per_device_eval_batch_size"):
        if getattr(trainer, key) is not None:
            yield Diagnostic(
                "R204",
                f"`{key}` is set, and there are no rows to evaluate on",
                at=("trainer", key),
                on_key=True,
                help="add `eval_fraction: 0.02` to `dataset`, or take it out",
            )


def by_form(recipe: Recipe, found: Collection[DataFormat] = ()) -> Iterator[Diagnostic]:
    """What rows of these forms can't obey; without `found`, of those that are written."""
    written = [source.format or recipe.dataset.format for source in recipe.dataset.train_sources.values()]
    forms = list(dict.fromkeys(found or (form for form in written if form != "auto")))
    for form in forms:
        yield from _loss(recipe, form)
    if forms and (found or "auto" not in written):
        yield from _unused(recipe, forms)


def _loss(recipe: Recipe, form: DataFormat) -> Iterator[Diagnostic]:
    for found in contradictions(form, row_rules(recipe)):
        value = str(getattr(recipe.trainer, found.key)).lower()
        yield Diagnostic(
            "R215",
            f"`{found.key}: {value}` needs rows of {found.needed}, and the format is {form}",
            at=("trainer", found.key),
            also=_format_here(recipe, form),
            help=found.instead,
        )


def _unused(recipe: Recipe, forms: Sequence[DataFormat]) -> Iterator[Diagnostic]:
    """Keys of other forms."""
    written, extra = recipe.dataset.model_fields_set, recipe.trainer.extra
    keys: tuple[tuple[bool, Path, bool], ...] = (
        ("instruction" in forms, ("dataset", "instruction_template"), "instruction_template" in written),
        (any(_is_laid_out(recipe, form) for form in forms), ("dataset", "chat_template"), "chat_template" in written),
        ("text" in forms, ("trainer", "extra", "dataset_text_field"), "dataset_text_field" in extra),
        ("text" in forms, ("dataset", "chunk"), recipe.dataset.chunk),
    )
    for is_read, at, is_written in keys:
        if is_written and not is_read:
            yield Diagnostic(
                "R216",
                f"`{at[-1]}` changes nothing for rows of {' and '.join(forms)}",
                at=at,
                on_key=True,
                also=_format_here(recipe, forms[0]) if len(forms) == 1 else (),
                help=_to_use(forms[0], str(at[-1])),
            )


def _to_use(form: DataFormat, key: str) -> str:
    if key == "instruction_template":
        return "take it out, or write `format: instruction`"
    chat = form == "instruction" and key == "chat_template"
    return "take it out, or write `instruction_template: chat`" if chat else "take it out"


def _is_laid_out(recipe: Recipe, form: DataFormat) -> bool:
    return form in ("messages", "prompt_completion") or is_chat(form, row_rules(recipe))


def _format_here(recipe: Recipe, form: DataFormat) -> tuple[tuple[Path, str], ...]:
    written = "format" in recipe.dataset.model_fields_set
    return ((("dataset", "format") if written else ("dataset", "train"), f"{form} here"),)


def template(recipe: Recipe) -> Iterator[Diagnostic]:
    dataset, at = recipe.dataset, ("dataset", "instruction_template")
    if dataset.format not in ("auto", "instruction"):
        return
    text = dataset.instruction_template
    if text in (*NAMED_TEMPLATES, CHAT) or ("{instruction}" in text and "{output}" in text):
        return
    near = nearest(text, (*NAMED_TEMPLATES, CHAT)) if "{" not in text else None
    missing = next(place for place in ("output", "instruction") if f"{{{place}}}" not in text)
    message = f"the template has no place for {{{missing}}}" if "{" in text else f"`{text[:40]}` is no template"
    help = f"did you mean `{near}`?" if near else "write chat, alpaca, plain, or a text with {instruction} and {output}"
    yield Diagnostic("R119", message, at=at, help=help)


def pieces(recipe: Recipe) -> Iterator[Diagnostic]:
    dataset, longest, at = recipe.dataset, recipe.trainer.max_length, ("dataset", "chunk_overlap")
    if dataset.chunk_overlap and not dataset.chunk:
        message = "`chunk_overlap` changes nothing without `chunk: true`"
        yield Diagnostic("R236", message, at=at, on_key=True, help="write `chunk: true`, or take it out")
    elif dataset.chunk and dataset.chunk_overlap >= longest - 1:
        message = f"pieces of {longest} tokens can't have {dataset.chunk_overlap} in common with the one before"
        yield Diagnostic("R236", message, at=at, help=f"write `chunk_overlap: {longest // 8}`")


def added(recipe: Recipe) -> Iterator[Diagnostic]:
    """Rows of new tokens have to be trained, whole and in the weights that are saved."""
    tokens, lora, at = recipe.dataset.add_tokens, recipe.lora, ("dataset", "add_tokens")
    for index, token in enumerate(tokens):
        if not token.strip() or token in tokens[:index]:
            message = f"`{token}` stands twice" if token.strip() else "a token of white space"
            yield Diagnostic("R235", message, at=(*at, index), help="take it out")
    if not tokens:
        return
    if not recipe.trainer.library.has_all_of_peft:
        message = f"the engine {recipe.trainer.engine} has no rows for new tokens"
        yield Diagnostic("R235", message, at=at, on_key=True, help="write `engine: trl`")
    if lora is not None and not isinstance(lora.target_modules, str):
        for index, name in enumerate(lora.target_modules):
            if name in _ROWS:
                message = f"an adapter on `{name}` would train the rows of new tokens a second time"
                yield Diagnostic("R235", message, at=("lora", "target_modules", index), help="take it out")
    saved = {name for name in _ROWS if lora is not None and name in lora.modules_to_save}
    if len(saved) == 1:
        message = f"of `{min(saved)}` all rows would be trained, of its partner not even those of new tokens"
        help = f"write `modules_to_save: [{', '.join(_ROWS)}]`, or leave both out: their new rows are trained then"
        yield Diagnostic("R235", message, at=("lora", "modules_to_save"), on_key=True, help=help)


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


DATA = (sources, evaluation, by_form, template, pieces, added, samples, labels, environment)
