"""Data files as they lie on a disk: found, and read row by row under their own names."""
