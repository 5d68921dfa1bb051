//! Rules of the project: its structure, and the tables in docs/ that name tests.

mod arrows;
mod attacks;
mod clients;
mod docs;
mod http;
mod release;
mod runner;
mod shape;
