"""The executor `modal`: the client's side."""
