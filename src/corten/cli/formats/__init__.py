"""What the lists show: the fields of a row by Docker's names, their headers, and tables, templates or JSON of them."""
