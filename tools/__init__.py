"""Scripts that make what the repository ships: data and the embedded model.  Not part of the installed package."""
