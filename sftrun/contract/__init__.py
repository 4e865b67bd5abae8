"""The waist: what crosses from the user's machine to the GPU's.  pydantic and the standard library only."""
