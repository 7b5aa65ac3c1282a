"""Rows of the registry: the only modules of this room that speak SQL."""
