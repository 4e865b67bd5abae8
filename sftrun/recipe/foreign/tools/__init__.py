"""One module a tool: what is no plain renaming of its keys."""
