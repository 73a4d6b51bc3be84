//! Rules of the house that neither the compiler nor clippy knows. Every failure lists file, line and what to do.

mod layers;
mod shape;
mod sources;
