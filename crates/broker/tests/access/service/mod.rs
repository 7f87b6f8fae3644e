//! A service that is asked over HTTP who clients are: right, slow, dead, lying and huge.

mod example;
mod failing;
mod house;
mod pki;
mod right;
mod server;
