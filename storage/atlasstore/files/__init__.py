"""Files and URLs: reading, writing atomically, retrying, locking."""
