"""Files of others, changed with care: read, replaced whole, shown without their secrets."""
