"""Image bytes: how they are read, checked, shown and made small."""
