"""Fuzzing: recipes, data files, model folders and ledgers are harmed, and the commands that read them are judged."""
