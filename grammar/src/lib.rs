//! keepalived's configuration language: text to typed [`config::Config`], with diagnostics.

pub mod config;
