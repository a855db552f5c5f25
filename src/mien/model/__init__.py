"""A bundle and how it answers: the contract, the file, the session, the crop."""
