"""Cases by people and models: annotation, proposals, synthesis."""
