"""Learning: rows, the loop, calibration, and formats for other programs."""
