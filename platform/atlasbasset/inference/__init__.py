"""A trained model in use: embedding, predicting, choosing cells and peaks."""
