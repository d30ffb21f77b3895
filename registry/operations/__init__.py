"""What operators need: heartbeats of processes, and metrics."""
