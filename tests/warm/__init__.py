"""Processes of a job that start at once, as forks of one that has the libraries loaded."""

is_allowed = True
"""Whether the test that runs may take the time of a job; `tests/conftest.py` sets it."""
