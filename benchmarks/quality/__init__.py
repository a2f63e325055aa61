"""How much quantised weights, fewer dimensions and smaller vectors cost in quality."""
