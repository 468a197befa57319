"""Images: presigned uploads to R2."""
