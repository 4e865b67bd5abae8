"""An answerer without a model: `python fake_answer.py REQUEST.json`, prompts by stdin."""

import json
import os
import sys
from pathlib import Path

request = json.loads(Path(sys.argv[1]).read_text())
if os.environ.get("FAKE_DIE"):
    sys.exit("the weights are gone")
for line in sys.stdin:
    asked = json.loads(line)
    prompt, told = asked["prompt"], [*filter(None, [asked["system"]]), *(said["tuned"] for said in asked["before"])]
    tuned = prompt.upper()[: request["max_new_tokens"]]
    sys.stdout.write(json.dumps({"prompt": prompt, "base": " ".join(["hm", *told]), "tuned": tuned}) + "\n")
    sys.stdout.flush()
