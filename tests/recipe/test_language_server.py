"""The schema in a real editor's server: yaml-language-server from npm completes and explains keys.

`tools/dev.py` installs it where npm is; else it is looked for in PATH, and where YAML_LANGUAGE_SERVER says.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
NAME = "yaml-language-server"
SERVER = (
    os.environ.get("YAML_LANGUAGE_SERVER")
    or shutil.which(NAME)
    or shutil.which(NAME, path=str(ROOT / "requirements/node/node_modules/.bin"))
)
pytestmark = pytest.mark.skipif(SERVER is None or shutil.which("node") is None, reason=f"{NAME} is not installed")
TEXT = f"""\
# yaml-language-server: $schema={(ROOT / "schemas/recipe-v1.schema.json").as_uri()}
version: 1
name: editor
model: {{name_or_path: Qwen/Qwen2.5-0.5B-Instruct}}
dataset: {{train: rows.jsonl}}
lora:
  bias: none
trainer:
  max_length: many
  
output: {{dir: /data/x}}
"""  # noqa: W293 - the blank line is where the keys are asked for


class Client:
    """Just enough of the language server protocol."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.number = 0
        self.notified: list[dict[str, Any]] = []

    def send(self, method: str, params: object, **more: object) -> None:
        body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, **more}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def ask(self, method: str, params: object) -> Any:
        self.number += 1
        self.send(method, params, id=self.number)
        while True:
            message = self.receive()
            if message.get("id") == self.number and "method" not in message:
                return message.get("result")

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        length = 0
        while line := self.process.stdout.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        message: dict[str, Any] = json.loads(self.process.stdout.read(length))
        if "method" in message and "id" in message:  # the server's own questions: no settings, nothing to register
            items = message.get("params", {}).get("items", []) if message["method"] == "workspace/configuration" else []
            answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": [{} for _ in items] or None}).encode()
            assert self.process.stdin is not None
            self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(answer), answer))
            self.process.stdin.flush()
        elif "method" in message:
            self.notified.append(message)
        return message

    def diagnostics(self) -> list[str]:
        """The messages of the next diagnostics that are not empty."""
        while True:
            for note in self.notified:
                if note["method"] == "textDocument/publishDiagnostics" and note["params"]["diagnostics"]:
                    return [one["message"] for one in note["params"]["diagnostics"]]
            self.receive()


@pytest.fixture
def client() -> Iterator[Client]:
    assert SERVER is not None
    process = subprocess.Popen(
        [SERVER, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    talking = Client(process)
    talking.ask("initialize", {"processId": os.getpid(), "rootUri": ROOT.as_uri(), "capabilities": {}})
    talking.send("initialized", {})
    document = {"uri": "file:///editor.yaml", "languageId": "yaml", "version": 1, "text": TEXT}
    talking.send("textDocument/didOpen", {"textDocument": document})
    yield talking
    process.kill()
    process.communicate()


def at(line: int, character: int) -> dict[str, object]:
    return {"textDocument": {"uri": "file:///editor.yaml"}, "position": {"line": line, "character": character}}


def test_keys_of_a_section_are_completed(client: Client) -> None:
    answer = client.ask("textDocument/completion", at(9, 2))

    labels = {item["label"] for item in answer["items"]}
    assert {"learning_rate", "per_device_train_batch_size", "packing"} <= labels
    assert "lora_alpha" not in labels


def test_a_section_s_name_offers_its_usual_keys(client: Client) -> None:
    answer = client.ask("textDocument/completion", at(11, 0))

    offered = {item["label"]: item.get("insertText", "") for item in answer["items"]}
    assert "load_in_4bit: true" in offered["quantization: QLoRA"]
    assert {"compute: on Modal", "compute: on this machine"} <= set(offered)


def test_words_of_a_key_are_completed(client: Client) -> None:
    answer = client.ask("textDocument/completion", at(6, 8))

    assert {"none", "all", "lora_only"} <= {item["label"] for item in answer["items"]}


def test_hovering_over_a_key_explains_it(client: Client) -> None:
    answer = client.ask("textDocument/hover", at(8, 5))

    assert "Tokens a training row" in json.dumps(answer)
    assert "Default: `1024`" in json.dumps(answer)


def test_a_value_of_the_wrong_kind_is_underlined_while_one_types(client: Client) -> None:
    assert any("integer" in message for message in client.diagnostics())
