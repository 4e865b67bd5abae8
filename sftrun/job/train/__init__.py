"""The worker: model, trainer, checkpoints, samples, results."""
