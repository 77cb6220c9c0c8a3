"""One file a figure: plain numbers in, a `Figure` block with Plotly's specification and its words out.

A specification is a plain dictionary, which Plotly's JavaScript takes as it is; tests validate every one
against Plotly's own schema. Class names pass through `plot_label`, because Plotly reads HTML in any text.
"""

from tailgrad.report.figures.branch_shares import branch_shares
from tailgrad.report.figures.class_bars import Series, class_bars
from tailgrad.report.figures.class_coverage import class_coverage
from tailgrad.report.figures.curves import Curve, curves
from tailgrad.report.figures.group_curves import group_curves
from tailgrad.report.figures.heat_map import CONFUSION, COSINES, HARM, Scale, heat_map
from tailgrad.report.figures.layers import LayerSeries, layers
from tailgrad.report.figures.rank_line import rank_line
from tailgrad.report.figures.reliability import ClassValues, reliability
from tailgrad.report.figures.seed_dots import seed_dots

__all__ = [
    "CONFUSION",
    "COSINES",
    "HARM",
    "ClassValues",
    "Curve",
    "LayerSeries",
    "Scale",
    "Series",
    "branch_shares",
    "class_bars",
    "class_coverage",
    "curves",
    "group_curves",
    "heat_map",
    "layers",
    "rank_line",
    "reliability",
    "seed_dots",
]
