"""BabyMixtral, the bundled toy model: the grammar that writes its training text, its word lists, and its training."""
