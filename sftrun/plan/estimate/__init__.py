"""Memory, time and money of a plan."""
