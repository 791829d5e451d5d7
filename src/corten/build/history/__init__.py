"""The builds that were: a record of each and what it said, bounded in number, bytes and age."""
