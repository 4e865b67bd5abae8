"""Each `auto` -> a value and its reason."""
