"""What shows a client who is there: watches, views of services, and the choice of an instance."""
