"""An image -> pixels."""
