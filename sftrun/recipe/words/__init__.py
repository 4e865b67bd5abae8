"""Names, kinds and diagnostics in words."""
