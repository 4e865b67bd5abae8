"""What runs in Modal's containers."""
