"""The Python door: sessions on record as objects, for programs. `from callerid import Traces`."""
