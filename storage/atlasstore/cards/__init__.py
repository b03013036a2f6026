"""Cards: what a store is and how to open it, in a README inside the store."""
