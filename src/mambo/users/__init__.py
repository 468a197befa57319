"""Who there is: accounts, their profiles and subscriptions."""
