"""The server: HTTP in front of the library. Needs the extra `serve`."""
