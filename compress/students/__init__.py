"""Student architectures, one per file: how each is built and what it inherits from its teacher."""
