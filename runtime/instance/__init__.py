"""One query's p-graph instance: values, streams, readiness."""
