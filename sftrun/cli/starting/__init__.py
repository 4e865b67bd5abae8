"""How a first recipe comes about: what is wished for, what is here, what follows, and why."""
