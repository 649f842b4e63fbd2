"""Images as people have them: made by properties, or from a folder; and a judge that is another decoder than Pillow."""
