"""A model's architecture, without its weights."""
