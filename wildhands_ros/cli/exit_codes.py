"""Exit codes of the ``wildhands`` command."""

EXIT_OK, EXIT_INCOMPLETE, EXIT_USER_ERROR, EXIT_INTERRUPTED = 0, 1, 2, 130
