"""What an output says about itself: tags, XMP, signed credentials, a visible label; and reading them back."""
