"""What is written on a request: decided here, and made in one last step elsewhere."""
