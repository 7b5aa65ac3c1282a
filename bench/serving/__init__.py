"""The model server beside others: one model, one client, one core for each of the two."""
