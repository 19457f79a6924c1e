"""Calls made again: rebuilt from the record, changed where that was asked, sent, and compared."""
