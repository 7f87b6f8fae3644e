//! A broker that is guarded, as a process of its own.

mod process;

mod migration;
