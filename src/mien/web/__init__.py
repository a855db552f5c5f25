"""The page: static files, and the list of them that a server or `mien web` hands out."""
