//! compat-command
