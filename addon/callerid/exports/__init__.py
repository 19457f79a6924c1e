"""What is on record, in forms that others read: lines of JSON, HAR, chats, CSV, spans, traces."""
