"""Critical parameters of large batches and long delays."""
