"""What a run costs: device time, tokens, energy, and money where prices are known.

`meter` counts while a run is made, `record` makes the manifest's `cost` of it, `prices` says what things cost, `energy`
reads the devices' own meters, and `spending` keeps requests within a budget.
"""
