"""Images: presigned uploads to object storage, and the check of an uploaded image."""
