"""From what a user names to one plugin with its options: entry points, URLs, typed options."""
