"""What a learner has paid for or been given."""
