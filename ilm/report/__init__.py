"""What people read: the page of a run, of a benchmark, of all of them. Made from JSON alone, readable offline."""
