"""What a client may send, and what the gateway puts in its place."""
