"""The exercises of the course: what students write, held against the library's own."""
