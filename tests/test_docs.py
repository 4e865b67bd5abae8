"""The pages hold together: links lead somewhere, every page is on the site, and what they show is right."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from sftrun import __version__
from sftrun.cli.main import cli

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "benchmarks/README.md", "modal_plane/README.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\((?!https?://)([^)\s#]*)(?:#([^)\s]*))?\)")

# `plan/build.py` of ARCHITECTURE.md stands in sftrun/
FOLDERS = "benchmarks|docs|modal_plane|recipes|requirements|schemas|sftrun|tests|tools"
ROOMS = "cli|contract|evaluate|facts|job|plan|recipe|report|rows|run|step"
NAMED = re.compile(rf"`((?:{FOLDERS}|{ROOMS})/[\w./-]*)`")


def anchors(page: Path) -> set[str]:
    """The names of a page's headings in a link, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text("utf-8")):
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{page.name} links to {path}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = NAMED.findall(page.read_text("utf-8"))
    assert [path for path in named if not any(root.joinpath(path).exists() for root in (ROOT, ROOT / "sftrun"))] == []


def test_every_page_of_docs_is_in_the_sites_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    listed = set(re.findall(r"<(?:\.\./)?([\w./-]+)>", index))
    missing = [page.stem for page in ROOT.glob("docs/*.md") if page.stem not in {*listed, "index"}]
    assert not missing, "add them to docs/index.md"


@pytest.mark.parametrize("page", ["README.md", "docs/recipe.md"])
def test_the_recipe_that_a_page_shows_is_valid(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = re.search(r"```yaml\n(version: 1\n.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    assert shown is not None
    (tmp_path / "data").mkdir()
    rows = [f'{{"prompt": "{number}?", "completion": "{number * number}"}}\n' for number in range(40)]
    (tmp_path / "data" / "train.jsonl").write_text("".join(rows), "utf-8")
    (tmp_path / "recipe.yaml").write_text(shown[1], "utf-8")
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(cli, ["validate", "recipe.yaml", "--offline", "--format", "json"])
    found = json.loads(answer.output)["files"][0]["diagnostics"]
    assert [one["message"] for one in found if one["code"] != "C104"] == []  # prices grow old with the calendar


def test_every_task_that_a_page_names_is_one_of_the_make_file() -> None:
    tasks = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)[0].split()
    named = re.compile(r"(?:make|tools/dev\.py) ([a-z]+)\b(?=`|\s{2,}#|$)", re.MULTILINE)
    assert {task for page in PAGES for task in named.findall(page.read_text("utf-8"))} <= set(tasks)


def test_the_readme_names_the_version() -> None:
    assert (ROOT / "README.md").read_text("utf-8").splitlines()[2].startswith(__version__)
