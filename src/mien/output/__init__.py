"""Where results go: rows, files, annotated pictures, videos."""
