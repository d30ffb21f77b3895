"""The playground: a prompt tried as it stands."""
