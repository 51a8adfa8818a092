"""The jobs of a sampler's calls: exactly once, under limits, results in order."""
