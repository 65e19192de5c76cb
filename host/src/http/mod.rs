//! HTTP, read-only.
//!
//! | path | answer |
//! |---|---|
//! | `/` | landing page |
//! | `/metrics` | text 0.0.4 or OpenMetrics 1.0 by `Accept`, gzip on request; `collect[]=` and `exclude[]=` choose plugins |
//! | `/-/healthy` | 200 as long as this loop runs |
//! | `/-/ready` | 200, or 503 while plugins start; a line a plugin says why |
//! | `/plugins` | JSON: what is known of each plugin |

mod landing;
mod routes;
mod server;

pub use routes::Agent;
pub use server::{Listeners, bind, serve};
