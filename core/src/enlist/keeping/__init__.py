"""What keeps the wanted registrations true: the table, the keeper, and the pace of its rounds."""
