"""The networks, and weights to start them from."""
