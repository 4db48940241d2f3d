"""The rules: events in, state and effects out. Pure values and functions from the standard library only;
no clock, no random number, no setting, no row, no await."""
