"""Model providers: settings, protocols, limits and prices."""
