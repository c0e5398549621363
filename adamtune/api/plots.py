"""The charts of a study in Python. Imports Altair where one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import altair as alt

    from adamtune.analysis.ranking import Ranking
    from adamtune.reports.charts.style import Chart


class Plots:
    """The charts of a study as Altair charts, which a notebook shows; None where there is nothing to draw.

    ``chart.save("chart.svg")`` writes one to a file (also .png, .pdf, .html and .json).

    Args:
        ranking: the ranked study.
    """

    def __init__(self, ranking: Ranking) -> None:
        self._ranking = ranking

    def slices(self) -> Chart | None:
        """The value against each searched setting."""
        from adamtune.reports import charts

        return charts.slices(self._ranking)

    def curves(self) -> alt.LayerChart | None:
        """The objective of each trial over its optimizer steps."""
        from adamtune.reports import charts

        return charts.curves(self._ranking)

    def best_so_far(self) -> alt.LayerChart | None:
        """The best value after each trial."""
        from adamtune.reports import charts

        return charts.best_so_far(self._ranking)

    def importance(self) -> alt.LayerChart | None:
        """How much of the order of the trials each setting explains, beside what noise explains."""
        from adamtune.reports import charts

        return charts.importance(self._ranking)

    def betas(self) -> alt.LayerChart | None:
        """beta1 against lr, or the first two searched numbers, coloured by the value."""
        from adamtune.reports import charts

        return charts.betas(self._ranking)

    def schedule(self) -> alt.Chart | None:
        """The learning rate of the recommended settings over the training."""
        from adamtune.reports import charts

        return charts.schedule(self._ranking)

    def parallel(self) -> alt.LayerChart | None:
        """All settings of each trial as a line."""
        from adamtune.reports import charts

        return charts.parallel(self._ranking)
