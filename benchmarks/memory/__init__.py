"""How much memory models take, planned and measured, and how much disk an installation takes."""
