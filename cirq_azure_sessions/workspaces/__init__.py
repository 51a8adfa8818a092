"""Workspaces: the port, Azure Quantum, and a workspace in memory."""
