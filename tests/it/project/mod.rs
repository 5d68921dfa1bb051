//! Rules of the project itself: its shape, and tables in docs/ that name tests.

mod arrows;
mod attacks;
mod docs;
mod http;
mod shape;
