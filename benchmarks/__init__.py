"""Measured claims: scripts that make them, their files in results/, and the pages whose tables are made of them."""
