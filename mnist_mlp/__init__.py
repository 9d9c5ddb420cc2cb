"""A Flax MLP, an Optax optimizer, and everything that a real training job needs around them."""
