"""What an admin can only be told or allowed with a look at everything that learners did."""
