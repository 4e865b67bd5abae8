"""Plan -> events: start, record, fold, stop; one backend each for this machine and Modal."""
