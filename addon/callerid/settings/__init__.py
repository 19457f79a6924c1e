"""What callerid is told: its settings and the tables of config/."""
