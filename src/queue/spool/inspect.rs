//! An operator's view of a spool whose engine does not start: reads only, takes no lock.
