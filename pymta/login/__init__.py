"""login: who is there: the child that may read passwords (auth), what it makes of a guess (checker), and hashes."""
