"""GPUs: kinds and prices, drivers, what was measured on them."""
