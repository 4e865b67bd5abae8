"""The page of a ledger's runs, served on this machine alone."""
