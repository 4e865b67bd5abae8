"""Knowledge from outside, as values: GPUs and prices, the model, the data.  `gather` is the shell that fetches it."""
