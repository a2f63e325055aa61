"""What an error tells to do: commands that install what is missing here, and names that may have been meant."""
