"""How the terms of an objective are weighed against each other while it trains, one file per way."""
