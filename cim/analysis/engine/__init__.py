"""What all analyses share: registry, parameters, assumptions, result, and running one on the store."""
