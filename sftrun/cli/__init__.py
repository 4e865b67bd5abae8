"""The command line: a lazy group and one file per command."""
