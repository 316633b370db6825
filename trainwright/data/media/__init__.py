"""Images, audio and text: found, decoded, normalised, changed, shown."""
