"""What a notebook shows of our objects, as HTML in which every text is escaped."""
