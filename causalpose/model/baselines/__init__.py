"""What a user would take instead: other methods, re-implemented on this project's backbone and head."""
