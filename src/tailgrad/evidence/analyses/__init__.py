"""Experiments and measurements after training: one file each, one function ``analyse(lab) -> Analysis``.

``lab.cell(name, make)`` computes once and keeps; ``lab.runs(group)`` are the finished runs of a group;
``lab.expect(number)`` says how many cells there will be, so that the time left can be told;
``lab.settings`` come from the study file. An analysis trains on training data, chooses on validation data and
reports on test data or, where the claim is about optimisation itself, on what it says it reports.
"""
