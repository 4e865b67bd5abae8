"""Invented training tasks, each a pure function of a random source.  Standard library only: all can remake the data."""
