"""Pure decisions; the clock and the randomness are passed in."""
