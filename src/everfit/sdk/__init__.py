"""One client for predictions and labels over HTTP."""

from everfit.sdk.client import Answer, Client

__all__ = ["Answer", "Client"]
