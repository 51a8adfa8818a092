"""Pictures of sessions and of sweeps.

timeline         what is drawn of sessions and their jobs: pure values
timeline_figure  the timeline as a figure of matplotlib's, for a notebook or a PNG, SVG or PDF file
timeline_page    the timeline as an interactive page of HTML, by plotly
sweep            the results of a sweep against its parameter
palette          colours that everybody can tell apart
"""

from cirq_azure_sessions.pictures.sweep import plot_sweep
from cirq_azure_sessions.pictures.timeline import Timeline

__all__ = ["Timeline", "plot_sweep"]
