"""Azure Quantum sessions for everything that takes a `cirq.Sampler`."""
