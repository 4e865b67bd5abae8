"""An evaluator without a model: `python fake_evaluator.py REQUEST.json`; the tuned model knows every even row."""

import json
import os
import sys
from pathlib import Path

request = json.loads(Path(sys.argv[1]).read_text())
asked, done = (
    request["job"]["evaluation"],
    {name: [tuple(key) for key in keys] for name, keys in request["done"].items()},
)
rows = [json.loads(line) for file in asked["data"]["files"] for line in Path(file).read_text().splitlines()]
sys.stdout.write(json.dumps({"rows": len(rows), "test_rows": len(rows)}) + "\n")
said = 0
for model in ("base", "tuned"):
    for index, row in enumerate(rows):
        if ("test", index) in done.get(model, []):
            continue
        if said == int(os.environ.get("FAKE_DIE_AFTER", "1000000")):
            sys.exit("the weights are gone")
        knows = model == "tuned" and index % 2 == 0
        answer = {"model": model, "index": index, "prompt": row["prompt"], "expected": row["completion"]}
        answer |= {"text": row["completion"] if knows else "hm", "tokens": 1, "is_ended": True}
        if asked["needs_loss"]:
            answer |= {"loss": 0.5, "learnt": 2, "right": 1}
        said += 1
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
