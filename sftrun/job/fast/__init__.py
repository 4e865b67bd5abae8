"""How a step is computed fast: attention, fused LoRA, heads, compiled layers, CUDA graphs, sharding."""
