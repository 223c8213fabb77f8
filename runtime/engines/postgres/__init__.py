"""A store in PostgreSQL with pgvector: durable, and shared by all who reach the server."""
