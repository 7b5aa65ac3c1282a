"""Rows of tracking: the only modules of this room that speak SQL."""
