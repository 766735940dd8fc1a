"""The study: models asked, scored and compared."""
