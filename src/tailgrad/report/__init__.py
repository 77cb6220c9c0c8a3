"""Reports: the folder of a run or a study in, one self-contained HTML file out.

    from tailgrad.report import write_report
    write_report(Path("runs/first"))    # runs/first/report.html

``folders.py`` reads, ``run_report.py`` and ``study_report.py`` choose what is said, ``figures/`` draws,
``html_page.py`` writes. A page is sections of blocks (``blocks.py``): texts, tables, figures, folded parts;
blocks hold plain texts, and only the template knows HTML, so every name is escaped in one place.

To add a figure: one file in ``figures/`` with a function that returns a `Figure` (numbers in, Plotly
specification and the words that explain it out), its use in one of the two reports, one test.
"""

from tailgrad.report.advice import Advice, advise
from tailgrad.report.write_report import write_report

__all__ = ["Advice", "advise", "write_report"]
