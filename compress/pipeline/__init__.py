"""Recipe, plan, store and run."""
