"""What outputs are worth: metrics with intervals, the paired test, calibration, slices and flips. Pure; no process."""
