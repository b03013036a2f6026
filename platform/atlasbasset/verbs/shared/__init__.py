"""What several verbs share: an atlas's peaks and their embeddings."""
