"""Tables: read, understood, encoded, in memory or as a stream."""
