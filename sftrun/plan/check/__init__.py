"""Checks that need facts or the plan itself."""
