"""What all rows of a source come to: counted in parallel, remembered by content."""
