"""Which engines run a model on a part, and the best of them."""
