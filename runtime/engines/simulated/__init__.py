"""Engines that only take time: what profiles say that the engines they stand for would take.

Time passes on the event loop's clock, real or virtual (``teola.runtime.simulation``). Results cost
next to nothing: they are functions of the items, as those of the fakes, and of the right lengths.
"""
