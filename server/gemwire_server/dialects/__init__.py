"""What the APIs of other servers mean here, in plain values: their fields, defaults, checks and words.

Fronts of several protocols share them.
"""
