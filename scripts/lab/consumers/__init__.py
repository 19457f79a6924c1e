"""Real consumers of the headers, behind callerid: what they are told, held against traces.db."""
