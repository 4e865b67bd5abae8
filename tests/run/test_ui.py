"""`sftrun ui`: a real server, asked as a browser asks, and by a real browser where there is one."""

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests import patience
from tests.run.cli_runs import Place, wait_until

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


class Page(NamedTuple):
    """A page under way: its address with the token, and its process."""

    url: str
    process: "subprocess.Popen[str]"

    def ask(self, path: str, body: Any = None, *, method: str = "", token: str | None = None, **headers: str) -> Any:
        """(status, headers, body) of one request."""
        split = urlsplit(self.url)
        known = split.query.partition("=")[2] if token is None else token
        connection = HTTPConnection(str(split.hostname), split.port, timeout=patience.SECONDS)
        mark = "&" if "?" in path else "?"
        data = None if body is None else json.dumps(body)
        connection.request(method or ("GET" if body is None else "POST"), f"{path}{mark}token={known}", data, headers)
        with connection.getresponse() as answer:
            found = answer.status, dict(answer.getheaders()), answer.read().decode()
        connection.close()
        return found

    def json(self, path: str, body: Any = None) -> Any:
        status, _, text = self.ask(path, body, **({} if body is None else {"Origin": self.origin}))
        assert status == 200, text
        return json.loads(text)

    @property
    def origin(self) -> str:
        split = urlsplit(self.url)
        return f"http://{split.netloc}"


@pytest.fixture
def page(place: Place) -> Iterator[Page]:
    process = place.start("ui", "--no-browser", "--format", "json")
    assert process.stdout is not None
    yield Page(json.loads(process.stdout.readline())["url"], process)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=patience.SECONDS)[1] == ""
    assert process.returncode == 0


def test_without_runs_it_says_so(page: Page) -> None:
    assert page.json("/api/runs")["runs"] == []


def test_a_run_is_listed_and_shown_with_its_curves_recipe_and_log(place: Place, page: Page) -> None:
    place.sftrun("apply", "r.yaml")
    (row,) = page.json("/api/runs")["runs"]
    assert (row["name"], row["status"], row["step"]) == ("tryout", "finished", 20)
    view = page.json(f"/api/runs/{row['id']}")
    assert view["curves"]["steps"]["step"] == list(range(1, 21))
    assert view["report"]["status"] == "finished"
    assert view["recipe"].startswith("version: 1")
    assert not view["under_way"]


def test_a_run_under_way_is_followed_and_stopped_with_a_checkpoint(place: Place, page: Page) -> None:
    watcher = place.start("apply", "r.yaml", FAKE_HOLD_AT="7")
    place.wait_for_step(6)
    run = place.run.name
    assert page.json(f"/api/runs/{run}")["under_way"]
    assert page.json(f"/api/runs/{run}/cancel", {})["said"].startswith("it stops")
    wait_until(lambda: page.json(f"/api/runs/{run}")["report"]["status"] == "stopped")
    view = page.json(f"/api/runs/{run}")
    assert view["report"]["stop_reason"] == "user"
    assert view["again"] == "sftrun apply r.yaml"
    watcher.communicate()


def test_its_models_are_asked_below_what_they_said_before(place: Place, page: Page) -> None:
    place.sftrun("apply", "r.yaml")
    run = place.run.name
    first = page.json(f"/api/runs/{run}/ask", {"prompt": "one"})
    second = page.json(f"/api/runs/{run}/ask", {"prompt": "two", "before": [first]})
    assert (first["tuned"], second["tuned"], second["base"]) == ("ONE", "TWO", "hm ONE")


def test_why_models_can_t_be_asked_is_said(place: Place, page: Page) -> None:
    place.sftrun("apply", "r.yaml", FAKE_FAIL_AT="7")
    status, _, said = page.ask(f"/api/runs/{place.run.name}/ask", {"prompt": "one"}, Origin=page.origin)
    assert status == 409
    assert "there is no adapter" in json.loads(said)["error"]


def test_several_runs_are_beside_each_other_with_what_tells_them_apart(place: Place, page: Page) -> None:
    for rate in ("1.0e-3", "2.0e-3"):
        place.sftrun("apply", "r.yaml", "--set", f"trainer.learning_rate={rate}", "--set", f"output.dir=/out/{rate}")
    found = page.json(f"/api/compare?runs={','.join(run.name for run in place.runs)}")
    assert len(found["runs"]) == 2
    assert [one["key"] for one in found["differences"]] == ["trainer.learning_rate"]


def test_a_damaged_run_takes_no_other_away(place: Place, page: Page) -> None:
    place.sftrun("apply", "r.yaml")
    whole = place.run.name
    torn = place.run.parent / "0123456789"
    shutil.copytree(place.run, torn)
    (torn / "plan.json").write_text("{")
    (torn / "run.json").write_text("{")
    assert {row["status"] for row in page.json("/api/runs")["runs"]} == {"finished", "damaged"}
    assert page.ask("/api/runs/0123456789")[0] == 409
    assert page.ask(f"/api/runs/{whole}")[0] == 200


@pytest.mark.parametrize("path", ["/", "/files/app.js", "/api/runs"])
def test_who_has_no_token_gets_nothing(page: Page, path: str) -> None:
    assert page.ask(path, token="")[0] == 401
    assert page.ask(path, token="%C3%A9")[0] == 401


def test_another_host_s_name_for_this_machine_is_refused(page: Page) -> None:
    assert page.ask("/api/runs", Host="rebound.example:80")[0] == 403


def test_a_page_of_another_site_can_t_write(place: Place, page: Page) -> None:
    place.sftrun("apply", "r.yaml")
    for headers in ({}, {"Origin": "http://elsewhere.example"}, {"Origin": "null"}):
        assert page.ask(f"/api/runs/{place.run.name}/cancel", {}, **headers)[0] == 403


def test_the_token_leaves_the_address_for_a_cookie_that_other_sites_don_t_get(page: Page) -> None:
    status, headers, _ = page.ask("/")
    assert (status, headers["Location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in headers["Set-Cookie"].split(";")}
    assert "default-src 'none'" in page.ask("/files/app.js")[1]["Content-Security-Policy"]


def test_no_file_but_its_own_is_served(page: Page) -> None:
    for path in ("/files/..%2fserver.py", "/files/server.py", "/files/%2fetc%2fpasswd"):
        assert page.ask(path)[0] == 404


def test_a_port_that_is_taken_is_said(place: Place, page: Page) -> None:
    taken = urlsplit(page.url).port
    done = place.sftrun("ui", "--port", str(taken), "--no-browser")
    assert done.returncode == 2
    assert f"error: port {taken} can't be had: address already in use" in done.stderr


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_shows_a_run_with_its_chart(place: Place, page: Page, tmp_path: Path) -> None:
    place.sftrun("apply", "r.yaml")
    shown = _browsed(page.url, tmp_path)
    assert re.search(r'href="#/run/\w+">tryout</a>', shown)
    assert "1 runs, 0 under way" in shown


def _browsed(url: str, profile: Path) -> str:
    """The page's elements once its scripts have run."""
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom")
    command = [str(BROWSER), *options, f"--user-data-dir={profile / 'browser'}", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=patience.SECONDS, check=True).stdout
