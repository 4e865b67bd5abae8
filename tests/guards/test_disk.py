"""What `sftrun.disk` does is done nowhere else, but where a reason stands here."""

import ast

from tests.guards.source import nodes

# file -> why it reads JSON by itself
READS_JSON = {
    "sftrun/facts/gpus/calibration.py": "a table of the package",
    "sftrun/facts/model/capabilities.py": "a table of the package",
    "sftrun/facts/model/lookup.py": "tables of the package",
    "sftrun/plan/identity.py": "a table of the package",
    "sftrun/recipe/known.py": "a table of the package",
    "sftrun/facts/gpus/catalog.py": "a user's prices, whose amounts are Decimals",
    "sftrun/contract/jobspec.py": "behind the reader, once a job is upgraded",
    "sftrun/plan/types.py": "behind the reader, once a plan is upgraded",
    "sftrun/job/prepare/shards.py": "the metadata of an Arrow file",
    "sftrun/job/ask/evaluator.py": "the order of the process that started it",
    "sftrun/job/train/answer.py": "the order of the process that started it",
    "sftrun/evaluate/formats.py": "a model's answer, of which it judges whether it is JSON",
    "sftrun/evaluate/dockerfiles.py": "likewise, of a list within one",
    "sftrun/job/prepare/prepared.py": "texts of rows, sized by the marker",
}
# file -> why it renames, flushes or locks by itself
WRITES = {
    "sftrun/job/supervise/record.py": "appends to the record, and flushes what must outlive a power cut",
    "sftrun/job/prepare/prepared.py": "a folder's first place, under its lock",
    "sftrun/job/prepare/spool.py": "rows for this process and its children: a file without a name",
    "sftrun/run/ledger.py": "a run's folder, which may not replace another",
}
JSON_CALLS = {"json.load", "json.loads", "model_validate_json", "from_json"}
DISK_CALLS = {"os.replace", "os.rename", "os.fsync", "fcntl.flock", "tempfile.mkstemp", "rename"}


def files_that_call(names: set[str]) -> set[str]:
    """Files outside `sftrun.disk` with a call of one of these, by its dotted name or a method's."""
    found = set()
    for file, node in nodes():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            if {f"{owner}.{node.func.attr}", node.func.attr} & names:
                found.add(file)
    return {file for file in found if not file.startswith("sftrun/disk/") and file != "sftrun/strict.py"}


def test_json_from_outside_is_read_in_one_place() -> None:
    # a row, a tokenizer's file: what stands there is judged at its line, or shown as it is
    assert {file for file in files_that_call(JSON_CALLS) if not file.startswith("sftrun/rows/")} == set(READS_JSON)


def test_files_are_renamed_flushed_and_locked_in_one_place() -> None:
    assert files_that_call(DISK_CALLS) == set(WRITES)
