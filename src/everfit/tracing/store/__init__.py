"""Rows of traces: the only modules of this room that speak SQL."""
