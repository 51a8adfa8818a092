"""Results of points and sweeps, their histograms, tables and plots."""
