"""What can be exported: one kind of given file a module."""
