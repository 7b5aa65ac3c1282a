"""The control plane as a process: what clients of tracking and registry talk to."""

from everfit.server.process import BackgroundControlPlane, serve_control_plane

__all__ = ["BackgroundControlPlane", "serve_control_plane"]
