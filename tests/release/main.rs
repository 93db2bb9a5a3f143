//! What is given away: the same bytes from every build, and what a user can check of them.

mod reproducible;
