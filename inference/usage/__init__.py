"""What calls add up to: sums by the minute, hour and day, and the figures that are read from them."""
