"""What a client does with its gradients: optax transforms, and corrections of client drift."""
