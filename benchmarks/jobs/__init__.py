"""What jobs cost beside what they compute."""
