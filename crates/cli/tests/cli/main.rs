//! The `quelea` binary as its users meet it: what it prints, and how it exits.

mod commands;
mod mosquitto;
mod output;
mod publishing;
mod support;
