"""Files of other tools -> a recipe."""
