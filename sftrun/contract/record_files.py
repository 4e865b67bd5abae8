"""The files of a run's record that the job writes and the user's machine reads, by name.

What stands in them: `events` (one a line), `holder`, `stopping`; the log is the worker's own output.
"""

EVENTS = "events.jsonl"
LOCK = "lock"
LOG = "worker.log"
STOP = "stop"
