"""One module for each format. Each has `parse(data, kind, builder, limits)` or the like and imports its library."""
