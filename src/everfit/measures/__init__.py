"""Pure statistics: arrays in, numbers and frozen values out, no I/O. Import the module you need."""
