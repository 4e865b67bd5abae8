"""sftrun: declarative supervised fine-tuning, priced before it runs and resumable after it stops."""

__version__ = "0.2.0"
