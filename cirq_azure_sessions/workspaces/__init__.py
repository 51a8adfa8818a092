"""Where jobs go: the port, Azure Quantum behind it, and the same in memory."""
