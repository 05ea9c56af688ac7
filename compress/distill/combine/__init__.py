"""How the distributions of several teachers become one, one file per way."""
