"""Tracking over MLflow's REST: two servers side by side, by rate, latency and server CPU.

Our server beside a stock MLflow server on SQLite, or any two that speak the same REST.
"""
