//! HTTP, read-only.
//!
//! | path | answer |
//! |---|---|
//! | `/` | landing page |
//! | `/metrics` | text 0.0.4 or OpenMetrics 1.0 by `Accept`, gzip on request; `collect[]=` and `exclude[]=` choose plugins |
//! | `/-/healthy` | 200, or 503 when one of the host's own loops stands still |
//! | `/-/ready` | 200, or 503 while plugins start; a line a plugin says why |
//! | `/plugins` | JSON: what is known of each plugin |
//! | `/plugins/NAME/VIEW` | JSON of a view, where `host.views` allows it |

pub mod answer;
pub mod connection;
mod guest;
mod landing;
mod places;
mod routes;
mod server;

pub use answer::Answer;
pub use routes::view_status;
pub use server::{bind, serve};
