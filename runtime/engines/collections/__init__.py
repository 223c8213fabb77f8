"""Collections of passages: versions, folders, indexes and how they are searched."""
