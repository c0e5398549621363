"""Charts of a study, as Altair charts: one function a chart, from the ranked study."""

from adamtune.reports.charts.progress import best_so_far, curve_note, curves
from adamtune.reports.charts.settings import importance, parallel, schedule
from adamtune.reports.charts.slices import betas, note, slice_of, slices

__all__ = [
    "best_so_far",
    "betas",
    "curve_note",
    "curves",
    "importance",
    "note",
    "parallel",
    "schedule",
    "slice_of",
    "slices",
]
