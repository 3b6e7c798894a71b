"""Part IV: models of the world, to plan with and to dream in."""
