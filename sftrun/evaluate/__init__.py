"""Base against tuned: what an answer is worth, what the difference rests on, and the verdict.  Pure."""
