//! compat-table
