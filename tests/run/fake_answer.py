"""An answerer without a model: `python fake_answer.py REQUEST.json`, prompts by stdin."""

import json
import os
import sys
from pathlib import Path

request = json.loads(Path(sys.argv[1]).read_text())
if os.environ.get("FAKE_DIE"):
    sys.exit("the weights are gone")
for line in sys.stdin:
    prompt = json.loads(line)["prompt"]
    tuned = prompt.upper()[: request["max_new_tokens"]]
    sys.stdout.write(json.dumps({"prompt": prompt, "base": "hm", "tuned": tuned}) + "\n")
    sys.stdout.flush()
