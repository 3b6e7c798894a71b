"""Language models: one transformer, its tokens, its training and its adaptation."""
