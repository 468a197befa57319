"""The only files that know a vendor, one each: a protocol on top, the real class below."""
