"""An Azure Quantum workspace on loopback HTTP."""
