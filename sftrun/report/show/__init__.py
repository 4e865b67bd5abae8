"""values -> text, pages and documents."""
