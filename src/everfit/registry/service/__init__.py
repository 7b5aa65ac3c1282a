"""What one can do with the registry: load, decide, save, in the caller's transaction.

This room cannot see what is served. Whoever lets people from outside rename or delete a model,
delete a version or move the alias ``champion`` asks the endpoint's releases first: a model that
serves, a version that answers or rolls out, and one that a rollback may go back to, must stay.
"""
