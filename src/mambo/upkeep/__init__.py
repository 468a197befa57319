"""What heals what got lost, in the background and by `mambo media reconcile`."""
