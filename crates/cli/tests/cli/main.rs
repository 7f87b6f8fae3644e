//! The `quelea` binary as its users meet it: what it prints, and how it exits.

mod commands;
mod manual;
mod mosquitto;
mod output;
mod publishing;
mod requests;
mod support;
