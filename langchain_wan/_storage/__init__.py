"""What a store is made of: operations, names and bytes."""
