"""Contract kits and fakes: what a backend must pass, and what tests build on."""
