"""The model server: it follows an alias, checks what it loads, and loses no request when that moves."""
