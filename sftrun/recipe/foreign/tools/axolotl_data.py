"""axolotl's `datasets`: where the rows are, what they look like, and how they become text."""

from typing import Any

from sftrun.diagnostics import Path
from sftrun.recipe.foreign import shared
from sftrun.recipe.foreign.chat_templates import NAMES
from sftrun.recipe.foreign.draft import Draft, source_has

_FORMS = {"alpaca": "instruction", "chat_template": "messages", "sharegpt": "messages", "completion": "text"}
_CHAT = ("chat_template", "sharegpt")
_ROLES = {"system": ("system",), "user": ("user", "human"), "assistant": ("assistant", "gpt", "model")}
# keys of a source that change nothing, and values of others that are what happens here
_SAME = ("ds_type", "trust_remote_code", "preprocess_shards", "field_thinking", "template_thinking_key", "field_tools")
_USUAL: dict[str, Any] = {
    "train_on_eos": "turn",
    "train_on_eot": "turn",
    "roles_to_train": ["assistant"],
    "message_field_training": "train",
    "drop_system_message": False,
    "shards": 1,
    "split_thinking": False,
    "conversation": "chatml",
    "input_transform": None,
}


def carry(draft: Draft, values: dict[str, Any]) -> None:
    """All sources of a file, for training and for evaluation."""
    draft.use("datasets", "test_datasets")
    for key, which in (("datasets", "train"), ("test_datasets", "eval")):
        rows = values.get(key) or []
        rows = rows if isinstance(rows, list) else [rows]
        made = [_source(draft, (key, number), row, values) for number, row in enumerate(rows)]
        shared.sources(draft, (key,), which, [source for source, _ in made])
        if which == "train":
            shared.one_format(draft, [(source, form) for source, form in made if form])
            _several(draft, (key,), [form for _, form in made])
    _loss(draft, values)


def _several(draft: Draft, at: Path, forms: list[str]) -> None:
    if len(set(forms)) > 1 and not source_has("format"):
        draft.differ(at, forms, "one form of rows")


def _source(draft: Draft, at: Path, row: Any, values: dict[str, Any]) -> tuple[dict[str, Any], str]:
    row = row if isinstance(row, dict) else {"path": row}
    source = _place(draft, at, row)
    form = _form(draft, at, row, source)
    if form == "messages":
        _talk(draft, at, row, source)
        _template(draft, at, row, values)
    elif form == "text" and row.get("field", "text") != "text":
        shared.source_key(draft, (*at, "field"), source, "columns", {"text": row["field"]})
    done = {"path", "type", "data_files", "split", "name", "revision", *_MAPPED}
    for key, value in row.items():
        if key in done or value is None or value == _USUAL.get(key):
            continue
        if key in _SAME or (form != "messages" and key in ("chat_template", "roles")):
            draft.same((*at, key), value, "rows are read by what they hold")
        else:
            draft.differ((*at, key), value, "a source of rows has no such key")
    return source, form


def _place(draft: Draft, at: Path, row: dict[str, Any]) -> dict[str, Any]:
    path, files = str(row.get("path") or ""), row.get("data_files")
    if shared.is_file(path) or path in ("json", "csv", "parquet", "text"):
        found = files if files and path in ("json", "csv", "parquet", "text") else path
        if isinstance(found, list) and len(found) > 1:
            draft.differ((*at, "data_files"), found, "name the files by a glob, or as sources of their own")
        return {"path": found[0] if isinstance(found, list) and found else str(found)}
    if files:
        draft.differ((*at, "data_files"), files, "files of a data set of the Hub can't be named")
    source: dict[str, Any] = {"hub": path}
    for theirs, ours in (("name", "config"), ("split", "split"), ("revision", "revision")):
        if row.get(theirs):
            source[ours] = row[theirs]
    source.setdefault("split", "train")
    return source


def _form(draft: Draft, at: Path, row: dict[str, Any], source: dict[str, Any]) -> str:
    kind = row.get("type")
    if isinstance(kind, dict):
        return _own_prompt(draft, (*at, "type"), kind, source)
    word = str(kind or "")
    if word in ("alpaca", "chat_template", "chat_template.default", "sharegpt", "completion"):
        if word == "completion":
            draft.put((*at, "type"), "dataset.chunk", True, theirs=word)
        return _FORMS[word.partition(".")[0]]
    if any(
        part in word for part in ("bradley_terry", "stepwise", "ultra", "argilla", "dpo", "kto", "orpo", "rwd", "ebft")
    ):
        draft.refuse((*at, "type"), kind, "rows of preferences are not for supervised fine-tuning")
    else:
        draft.differ((*at, "type"), kind, "a prompt that has no name here; see `dataset.instruction_template`")
    return ""


def _own_prompt(draft: Draft, at: Path, kind: dict[str, Any], source: dict[str, Any]) -> str:
    """A prompt of one's own: system_prompt, then `format` with {instruction} and {input}, then the answer."""
    own, bare = str(kind.get("format") or "{instruction} {input}"), kind.get("no_input_format")
    columns = {name: kind.get(f"field_{name}") or name for name in ("instruction", "input", "output")}
    system = kind.get("system_prompt") or ""
    laid = str(kind.get("system_format") or "{system}").replace("{system}", str(system)) if system else ""
    if bare and "{input}" in own:
        draft.differ((*at, "no_input_format"), bare, "one template for rows with and without input")
    if kind.get("field_system"):
        draft.differ(
            (*at, "field_system"), kind["field_system"], "a column of system prompts has no place in a template"
        )
    draft.values["dataset.instruction_template"] = laid + own + "{output}"
    changed = {
        ours: theirs
        for ours, theirs in columns.items()
        if theirs != ours and not (ours == "input" and "{input}" not in own)
    }
    if changed:
        shared.source_key(draft, at, source, "columns", changed)
    return "instruction"


_MAPPED = (
    "field_messages",
    "message_property_mappings",
    "message_field_role",
    "message_field_content",
    "roles",
    "field",
    "chat_template",
    "chat_template_jinja",
)


def _talk(draft: Draft, at: Path, row: dict[str, Any], source: dict[str, Any]) -> None:
    """Which columns hold the turns, and who says what."""
    shares = row.get("type") == "sharegpt"
    mapping = row.get("message_property_mappings") or {}
    role = mapping.get("role") or row.get("message_field_role") or ("from" if shares else "role")
    content = mapping.get("content") or row.get("message_field_content") or ("value" if shares else "content")
    messages = row.get("field_messages") or ("conversations" if shares else "messages")
    wanted = {"messages": messages, "role": role, "content": content}
    changed = {ours: theirs for ours, theirs in wanted.items() if theirs != ours}
    if changed:
        shared.source_key(draft, (*at, "field_messages"), source, "columns", changed)
    names = {theirs: ours for ours, group in (row.get("roles") or {}).items() for theirs in group}
    odd = {theirs: ours for theirs, ours in names.items() if theirs not in _ROLES.get(ours, ())}
    if odd:
        shared.source_key(draft, (*at, "roles"), source, "roles", odd)


def _template(draft: Draft, at: Path, row: dict[str, Any], values: dict[str, Any]) -> None:
    own = row.get("chat_template") or row.get("chat_template_jinja")
    draft.use(*(() if own else ("chat_template", "chat_template_jinja")))
    place: Path = (*at, "chat_template") if own else ("chat_template",)
    name = row.get("chat_template") or values.get("chat_template")
    jinja = row.get("chat_template_jinja") or values.get("chat_template_jinja")
    if jinja:
        draft.files["chat_template.jinja"] = str(jinja)
        draft.values["dataset.chat_template"] = "chat_template.jinja"
    elif name and str(name) not in ("tokenizer_default",) and not str(name).startswith("tokenizer_default_fallback"):
        if str(name) in NAMES["axolotl"]:
            draft.put(place, "dataset.chat_template", NAMES["axolotl"][str(name)])
        else:
            draft.differ(
                place, name, "axolotl's template of that name does not ship; save it as a file beside the recipe"
            )


def _loss(draft: Draft, values: dict[str, Any]) -> None:
    draft.use("train_on_inputs")
    on_inputs, form = bool(values.get("train_on_inputs")), draft.values.get("dataset.format")
    if form == "messages":
        draft.values["trainer.assistant_only_loss"] = not on_inputs
    elif form == "instruction":
        draft.values["trainer.completion_only_loss"] = not on_inputs
    elif on_inputs and form is None:
        draft.differ(("train_on_inputs",), True, "what is learnt of rows of several forms")
