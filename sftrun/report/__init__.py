"""values -> words."""
