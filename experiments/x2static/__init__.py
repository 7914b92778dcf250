"""X2Static: static word vectors from the contexts of a frozen teacher."""
