//! What is given away: the same bytes from every build, and what a user can check of them.
//!
//! | file | what it shows |
//! |---|---|
//! | `reproducible.rs` | a build in another folder, by another user, gives the same bytes |
//! | `papers.rs` | bills of materials, provenance, checksums and signature, by the judgement of others' programs |
//! | `tamper.rs` | a byte that is changed anywhere is found by `outpost verify-image` |
//! | `secrets.rs` | no key is in the tree or in the image |
//! | `folder.rs` | what they share: a folder as it is given away |

mod folder;
#[path = "../support/image.rs"]
mod image;
mod papers;
mod reproducible;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
mod tamper;
