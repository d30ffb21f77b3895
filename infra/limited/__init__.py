"""Everything that runs what a user wrote runs here: in child processes under one policy of limits."""
