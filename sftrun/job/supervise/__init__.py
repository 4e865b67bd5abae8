"""The supervisor: it starts the worker, keeps the record, watches time and money, and needs no ML library."""
