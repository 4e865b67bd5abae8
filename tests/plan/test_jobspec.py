"""A plan and the places of an executor make the job's own text."""

from sftrun.contract.jobspec import JobSpec, MoneySpec
from sftrun.plan.assemble import Places, jobspec
from sftrun.plan.build import build
from sftrun.plan.types import Plan
from tests.plan.samples import facts, recipe


def spec(made: Plan, places: Places) -> JobSpec:
    return jobspec(made, "abc", places, MoneySpec())


def test_output_below_a_mount_goes_to_the_mount_s_folder() -> None:
    made = build(recipe(), facts(), folders={})
    job = spec(made, Places(record_dir="/rec", mounts={"/out": "/home/v/outputs"}))
    assert job.output_dir == "/home/v/outputs/sample"
    assert job.checkpoints_dir == "/home/v/outputs/sample-checkpoints/abc"


def test_the_innermost_mount_wins() -> None:
    places = Places(record_dir="", mounts={"/a": "/x", "/a/b": "/y"})
    assert places.of("/a/b/c") == "/y/c"
    assert places.of("/a/bc") == "/x/bc"


def test_uploaded_files_are_named_by_their_place_for_the_job() -> None:
    made = build(recipe(), facts(), folders={})
    job = spec(made, Places(record_dir="/rec", uploads={"/r/train.jsonl": "/up/aa/train.jsonl"}))
    assert job.dataset.train[0].files == ("/up/aa/train.jsonl",)


def test_the_spec_survives_its_own_json() -> None:
    job = spec(build(recipe(), facts(), folders={}), Places(record_dir="/rec"))
    assert JobSpec.read(job.model_dump_json()) == job
