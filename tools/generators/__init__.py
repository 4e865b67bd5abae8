"""Invented training tasks, each a pure function of a random source.  Standard library only: anyone can re-make the data."""
