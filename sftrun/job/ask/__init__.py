"""Base and tuned model are asked rows with known answers; nothing here judges what they say."""
