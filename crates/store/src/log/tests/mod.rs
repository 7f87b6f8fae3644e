//! The log driven by hand, against a model that is obviously right.

mod chores;
mod copy;
mod crash;
mod damage;
mod fixtures;
mod hand;
mod image;
mod model;
mod space;
