"""What one can do with experiments and runs: load, decide, save, in the caller's transaction."""
