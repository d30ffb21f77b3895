"""Import from and export to files and other products."""
