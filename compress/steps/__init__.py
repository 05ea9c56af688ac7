"""The verbs of a recipe; each reads its inputs, calls one method and writes one artifact."""
