"""Files of cases: their formats, what becomes of their columns, and a preview of both. Pure."""
