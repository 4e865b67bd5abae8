"""The tokenizer that a job's rows go through: the very files that the checks read, by the same page."""

import tempfile
from pathlib import Path

from sftrun.contract.jobspec import JobSpec, ModelSpec
from sftrun.contract.row_rules import RowRules
from sftrun.errors import Problem
from sftrun.job.failures import JobFailure
from sftrun.job.train import loading
from sftrun.rows import tokenizer
from sftrun.rows.tokenizer import Tokens

FILES = ("tokenizer*", "special_tokens_map.json", "*.jinja", "additional_chat_templates/*")


def of_job(spec: JobSpec) -> Tokens:
    """With the tokens and the template that the job's rules name.  Raises JobFailure."""
    return of_model(spec.model, spec.rows)


def of_model(model: ModelSpec, rules: RowRules) -> Tokens:
    """The tokenizer of a folder or of the Hub's model.  Raises JobFailure."""
    name = loading.locate(model)
    loading.require_folder(name, needs_config=False)  # an adapter's folder has a tokenizer and no config.json
    folder = files_of(name, model.revision)
    if (folder / tokenizer.FILE).is_file():
        return _made(folder, rules, name)
    with tempfile.TemporaryDirectory() as made:
        loading.auto_tokenizer(model).save_pretrained(made)
        return _made(Path(made), rules, name)


def files_of(name: str, revision: str | None) -> Path:
    """The folder of the tokenizer's files, fetched where they are the Hub's."""
    if Path(name).is_absolute():
        return Path(name)
    from huggingface_hub import snapshot_download

    fetch = lambda: snapshot_download(name, revision=revision, allow_patterns=list(FILES))  # noqa: E731
    return Path(loading.said(f"the tokenizer of {name}", fetch))


def _made(folder: Path, rules: RowRules, name: str) -> Tokens:
    found = tokenizer.load(folder, rules)
    if isinstance(found, Problem):
        raise JobFailure("model", f"can't load the tokenizer of {name}: {found.message}", found.help)
    for key, token in tokenizer.lacking(found, rules):
        raise JobFailure("model", f"`{key}` {token!r} is no token of {name}", "name one of its vocabulary")
    return found
