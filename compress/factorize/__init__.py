"""Factorization: large matrices as products of small ones, many layers as runs of one."""
