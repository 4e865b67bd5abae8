"""A Python script or notebook that trains with TRL or Unsloth -> a recipe; it is read and never run."""
