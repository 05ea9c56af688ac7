"""Where rows come from, one source per file."""
