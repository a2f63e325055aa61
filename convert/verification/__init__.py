"""Whether an artefact computes what its checkpoint does."""
