"""YAML text -> one tree with places."""
