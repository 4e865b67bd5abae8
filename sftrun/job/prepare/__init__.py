"""Rows -> prepared data on the disk, in this process or in one of its own."""
