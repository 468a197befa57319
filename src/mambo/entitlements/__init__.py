"""What a person has paid for or been given."""
