"""What a person sees and changes of their own account, and an admin of everyone's."""
